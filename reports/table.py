"""The table of a run in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from metrics.results import Cell, Guard, Summary


def share(value: float | None, sign: str = "") -> str:
    """A share as percent with one decimal, the way all views print it."""
    return "-" if value is None else f"{100 * value:{sign}.1f}"


def number(value: float, sign: str = "") -> str:
    """What is no share, with two decimals."""
    return f"{value:{sign}.2f}"


def interval(ci95: tuple[float, float] | None, sign: str = "", unit: Callable[[float, str], str] = share) -> str:
    return "" if ci95 is None else f"[{unit(ci95[0], sign)}, {unit(ci95[1], sign)}]"


def columns(cell: Cell) -> tuple[str, ...]:
    """A candidate's row in words: condition, model, n, accuracy, baseline, difference, verdict."""
    supervised = f"{share(cell.supervised.accuracy)} {interval(cell.supervised.ci95)}" if cell.supervised else "-"
    difference = (
        f"{share(cell.difference.value, '+')} {interval(cell.difference.ci95, '+')}" if cell.difference else "-"
    )
    accuracy = f"{share(cell.accuracy)} {interval(cell.ci95)}"
    return (cell.label, cell.model, str(cell.n), accuracy, supervised, difference, cell.verdict, others(cell))


HEADINGS = ("condition", "model", "n", "accuracy, 95% interval", "supervised", "difference", "verdict", "also")
_OTHERS: dict[str, tuple[str, str, Callable[[float, str], str]]] = {
    "pm0": ("pm-0", "", share),
    "overlap_rate": ("overlap", "", share),
    "accuracy_all": ("on all", "", share),
    "accuracy_overlapping": ("on the overlap", "", share),
    "removed": ("all - clean", "+", share),
    "familiarity": ("ahead of the baseline on the overlap", "+", share),
    "effective_robustness_all": ("effective robustness on all", "+", share),
    "effective_robustness": ("effective robustness", "+", share),
    "flip_probability": ("flips", "", share),
    "top5_distance": ("T5D", "", number),
    "shape_bias": ("shape bias", "", share),
    "median_eps": ("median eps x 255", "", number),
    "reads_the_word": ("reads the word", "", share),
    "fits_the_caption": ("fits the caption", "", share),
    "fits_the_caption_when_clean": ("when clean", "", share),
    "queries": ("queries", "", number),
}
"""Metrics that the tables show: what they are called there, their sign, and how they are written."""


def others(cell: Cell) -> str:
    """What else was measured, each with its interval."""
    found = [
        f"{label} {unit(cell.metrics[key], sign)} "
        + interval((cell.metrics[f"{key}_ci95_low"], cell.metrics[f"{key}_ci95_high"]), sign, unit)
        for key, (label, sign, unit) in _OTHERS.items()
        if key in cell.metrics
    ]
    return "; ".join(found)


def summaries(found: Sequence[Summary]) -> list[str]:
    """Figures over many cells, a line each."""
    lines = []
    for s in found:
        unit = share if s.share else number
        figure = s.reason if s.value is None else f"{unit(s.value)} {interval(s.ci95, unit=unit)}"
        lines.append(f"{s.model} ({s.role}): {s.name} {figure}")
    return lines


def regressions(cells: Sequence[Cell]) -> list[str]:
    """Each cell against the recorded run: before, after, the paired difference, what was fixed and broken."""
    lines = []
    for cell in candidates(cells):
        r = cell.regression
        if r is None:
            continue
        if r.difference is None:
            lines.append(f"{cell.label}, {cell.model}: not compared: {r.reason}")
            continue
        broken = f" (first: {', '.join(r.broken[:3])})" if r.broken else ""
        lines.append(
            f"{cell.label}, {cell.model}: before {share(r.before)}, now {share(cell.accuracy)}, difference "
            f"{share(r.difference.value, '+')} {interval(r.difference.ci95, '+')} on {r.n} images of run '{r.run}'; "
            f"{len(r.fixed)} fixed, {len(r.broken)} broken{broken}" + (f"; {r.reason}" if r.reason else "")
        )
    return lines


def guards(found: Sequence[Guard]) -> list[str]:
    """How many checks of the attacks hold, and each that is broken."""
    if not found:
        return []
    broken = [f"guard broken: {g.model}: {g.name} ({g.detail})" for g in found if not g.holds]
    return [f"guards of the attacks: {len(found) - len(broken)} of {len(found)} hold", *broken]


def warnings(cells: Sequence[Cell]) -> list[str]:
    """What the data sets' readers had to say, each sentence once."""
    return list(dict.fromkeys(warning for cell in cells for warning in cell.warnings))


def candidates(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.role == "candidate"]


def lines(cells: Sequence[Cell]) -> Iterator[str]:
    """The candidates' rows, aligned; the reason stands under a row that is not a plain pass."""
    shown = candidates(cells)
    rows = [HEADINGS, *(columns(cell) for cell in shown)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row, cell in zip(rows, [None, *shown], strict=True):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        if cell and cell.verdict in ("fail", "error", "improved", "not run"):
            yield f"    {cell.reason}"
    yield from (f"warning: {warning}" for warning in warnings(cells))
