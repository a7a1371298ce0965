"""A comment for a pull request: the verdict, what fails, and what changed since the base branch; under 60 kB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clip_robustness.reports.decisions import SIGNS, told
from clip_robustness.reports.markdown import LIMIT, SIGN, escaped, fitting, reason, row, size
from clip_robustness.reports.table import interval, share
from clip_robustness.results.headline import candidates, failing, headline
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

Key = tuple[str, str]


def render(results: Results, base: Results | None = None) -> str:
    """Markdown, without marks in what comes from outside. Candidates of the base are matched by name, or as the only
    one of either run, for checkpoints that are called by their file."""
    shown, head = candidates(results.cells), headline(results)
    lines = [f"### {SIGN[head.state]} {escaped(head.sentence)}", "", escaped(told(results)), ""]
    lines += [text for warning in results.warnings for text in (f"**Warning**: {escaped(warning)}", "")]
    if results.partial:
        lines += [f"**Partial**: {escaped(results.partial)}", ""]
    reasons = [*map(reason, failing(shown))]
    changed = [*_changes(shown, _matched(shown, base))] if base else []
    room = LIMIT - size(lines) - 2000
    kept = fitting(reasons, room // 2)
    lines += [*kept, *_left_out(reasons, kept), ""]
    if changed:
        heads = ("", "condition", "model", "verdict", "accuracy", "difference, 95% interval")
        lines += ["What changed since the base branch", "", row(heads), row(["---"] * len(heads))]
        rows = fitting(changed, room - size(kept))
        lines += [*rows, *_left_out(changed, rows)]
    elif base:
        lines.append("No verdict changed since the base branch.")
    return "\n".join(lines).rstrip() + "\n"


def _left_out(part: Sequence[str], kept: Sequence[str]) -> list[str]:
    left = len(part) - len(kept)
    return ["", f"*{left} more are left out here; report.html has all.*"] if left else []


def _matched(shown: Sequence[Result], base: Results) -> dict[tuple[str, Key], Result]:
    """(model of this run, condition) -> the base's cell."""
    theirs = candidates(base.cells)
    ours, others = ({cell.model: None for cell in cells} for cells in (shown, theirs))
    only = len(ours) == len(others) == 1
    called = dict(zip(others, ours, strict=True)) if only else {model: model for model in others}
    return {(called[cell.model], (cell.family, cell.label)): cell for cell in theirs}


def _changes(shown: Sequence[Result], before: dict[tuple[str, Key], Result]) -> Iterator[str]:
    """A row a cell whose verdict is another, that is new or gone, or that is shown to be better or worse."""
    left = dict(before)
    for cell in shown:
        was = left.pop((cell.model, (cell.family, cell.label)), None)
        d = cell.regression.difference if cell.regression else None
        moved = d is not None and (d.ci95[0] > 0 or d.ci95[1] < 0)
        if was is not None and was.verdict == cell.verdict and not moved:
            continue
        then = was.verdict if was else "new"
        verdict = cell.verdict if then == cell.verdict else f"{then} → {cell.verdict}"
        accuracy = f"{share(was.accuracy) if was else '-'} → {share(cell.accuracy)} {interval(cell.ci95)} (n {cell.n})"
        difference = f"{share(d.value, '+')} {interval(d.ci95, '+')}" if d else "not compared by image"
        yield row((SIGNS.get(cell.verdict, ""), cell.label, cell.model, verdict, accuracy, difference))
    for (model, _), was in left.items():
        yield row(("-", was.label, model, f"{was.verdict} → gone", f"{share(was.accuracy)} → -", "-"))
