"""The table of a run in the terminal: by family, as much as -q and -v ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from clip_robustness.errors import one_line
from clip_robustness.reports import table
from clip_robustness.reports.table import columns, interval, share
from clip_robustness.results.headline import candidates, counts, headline
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

Line = tuple[tuple[str, dict[str, bool]], ...]
"""Pieces of text with their markup."""

_MARKUP = {
    "pass": {"green": True},
    "fail": {"red": True, "bold": True},
    "error": {"red": True, "bold": True},
    "improved": {"red": True, "bold": True},
    "inconclusive": {"yellow": True},
    "known weakness": {"yellow": True},
}
_COLOUR = {"holds": "green", "fails": "red", "undecided": "yellow"}
_LABEL = 36


def lines(results: Results, verbosity: int = 0) -> Iterator[Line]:
    """Compact by default; below 0 what is no plain pass, below -1 the headline and warnings of the whole run; above 0
    also the baselines' accuracies, other measures, and every reason. Names and reasons are not ours: none of them ends
    a line."""
    for line in _lines(results, verbosity):
        yield tuple((one_line(text), markup) for text, markup in line)


def _lines(results: Results, verbosity: int) -> Iterator[Line]:
    head = headline(results)
    if verbosity > -2:
        shown = [cell for cell in candidates(results.cells) if verbosity >= 0 or _notable(cell)]
        yield from _rows(shown, verbosity)
        extra = (
            [*table.spared(results.cells), *table.regressions(results.cells), *table.summaries(results.summaries)]
            if verbosity >= 0
            else []
        )
        for line in table.claims(results.claims) if verbosity >= 0 else ():
            yield ((line, {}),)
        guards = table.guards(results.guards)
        for line in (*extra, *(guards if verbosity >= 0 else guards[1:])):
            yield (((line), {"red": line.startswith("guard broken")}),)
        above = () if verbosity >= 0 else table.model_warnings(results.models)  # which pytest's head says without -q
        for warning in (*above, *table.warnings(results.cells)):
            yield ((f"warning: {warning}", {"yellow": True}),)
    for said in table.known(results.calibration):
        yield ((said, {}),)
    for warning in results.warnings:
        yield ((f"warning: {warning}", {"yellow": True, "bold": True}),)
    if results.partial:
        colour = "red" if results.unfinished else "yellow"
        yield ((f"partial: {results.partial}", {colour: True, "bold": True}),)
    yield ((f"{head.sign} {head.text}", {_COLOUR[head.state]: True, "bold": True}),)


def _notable(cell: Result) -> bool:
    return cell.verdict not in ("pass", "not gated", "known weakness")


def _rows(cells: Sequence[Result], verbosity: int) -> Iterator[Line]:
    rows = [_columns(cell, verbosity) for cell in cells]
    if not rows:
        return
    heads = ("condition", "n", "accuracy, 95% interval", "difference") if verbosity < 1 else table.HEADINGS[:6]
    if verbosity < 1 and len({cell.model for cell in cells}) > 1:
        heads = (heads[0], "model", *heads[1:])
        rows = [(row[0], cell.model, *row[1:]) for row, cell in zip(rows, cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    titles = "  ".join(part.ljust(width) for part, width in zip(heads, widths, strict=True))
    yield ((f"  {titles}  verdict", {}),)
    for family, group in groupby(zip(rows, cells, strict=True), key=lambda pair: pair[1].family):
        own = list(group)
        counted = ", ".join(f"{n} {verdict}" for verdict, n in counts(cell for _, cell in own).items())
        yield ((family, {"bold": True}), (f"  {counted}", {}))
        for row, cell in own:
            text = "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True))
            also = f"  {table.others(cell)}".rstrip() if verbosity > 0 else ""
            yield ((f"  {text}  ", {}), (cell.verdict, _MARKUP.get(cell.verdict, {})), (also, {}))
            if cell.reason and (verbosity > 0 or cell.verdict in ("fail", "error", "improved", "not run")):
                yield ((f"      {cell.reason}", {}),)


def _columns(cell: Result, verbosity: int) -> tuple[str, ...]:
    if verbosity > 0:
        return columns(cell)[:6]
    label = cell.label if len(cell.label) <= _LABEL else f"{cell.label[: _LABEL - 1]}…"
    d = cell.difference
    difference = f"{share(d.value, '+')} {interval(d.ci95, '+')}" if d else "-"
    return label, str(cell.n), f"{share(cell.accuracy)} {interval(cell.ci95)}", difference
