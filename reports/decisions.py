"""What the gate decides: each limit with its figure and the room between them, and the run in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clip_robustness.errors import number_of
from clip_robustness.results.headline import candidates
from clip_robustness.results.result import Check, Result, spoken, written
from clip_robustness.results.results import Results

_WORST_FIRST = ("fail", "error", "improved", "inconclusive", "not run", "known weakness", "pass")
SIGNS = {
    "pass": "✓", "fail": "✕", "error": "✕", "improved": "▲", "inconclusive": "?", "known weakness": "◆", "not run": "-",
    "not gated": "·",
}  # fmt: skip
"""Of verdicts, for who sees no colours."""


@dataclass(frozen=True)
class Decision:
    """A limit of a cell; of a cell that has none measured `check` is None, and its `reason` says why."""

    cell: Result
    check: Check | None
    verdict: str

    @property
    def limit(self) -> str:
        if self.check is None:
            return ""
        sign = "+" if self.check.bound < 0 else ""
        way = "≥" if self.check.at_least else "≤"
        return f"{way} {written(self.check.bound, self.check.unit, sign)}{self._unit}"

    @property
    def figure(self) -> str:
        if self.check is None:
            return ""
        sign = "+" if self._signed else ""
        value, low, high = (written(x, self.check.unit, sign) for x in (self.check.value, *self.check.ci95))
        return f"{value} [{low}, {high}]"

    @property
    def margin(self) -> str:
        """How far inside the limit the figure is, with its sign."""
        return "" if self.check is None else f"{written(self.check.margin, self.check.unit, '+')}{self._unit}"

    @property
    def room(self) -> tuple[float, float, float] | None:
        """The figure and its interval relative to the limit, in points, to the right where it is kept."""
        if self.check is None or self.check.unit != "points":
            return None
        way = 100 if self.check.at_least else -100
        value, low, high = (way * (x - self.check.bound) for x in (self.check.value, *self.check.ci95))
        return value, min(low, high), max(low, high)

    @property
    def _signed(self) -> bool:
        """Differences have a sign."""
        assert self.check is not None
        return "drop" in self.check.limit or self.check.limit in ("max_regression", "min_effective_robustness")

    @property
    def _unit(self) -> str:
        assert self.check is not None
        return "" if self.check.unit == "points" else spoken(self.check.unit)


def decisions(cells: Sequence[Result]) -> list[Decision]:
    """Of all limits of the candidates' cells, the worst first, and within a verdict those that are farthest out."""
    found = []
    for cell in candidates(cells):
        found += [Decision(cell, check, _verdict(cell, check)) for check in cell.checks]
        if not cell.checks and (cell.limits or cell.verdict in ("fail", "error")):
            found.append(Decision(cell, None, cell.verdict))

    def urgency(decision: Decision) -> tuple[int, float]:
        worst = _WORST_FIRST.index(decision.verdict) if decision.verdict in _WORST_FIRST else len(_WORST_FIRST)
        return worst, decision.room[0] if decision.room else -100.0

    return sorted(found, key=urgency)


def _verdict(cell: Result, check: Check) -> str:
    if cell.verdict == "error":
        return "error"
    weak = {"pass": "improved", "fail": "known weakness", "inconclusive": "known weakness"}
    return weak.get(check.status, check.status) if check.weak else check.status


def told(results: Results) -> str:
    """What the verdict of this run stands on, in a sentence; of what a run has none of nothing is said."""
    found = decisions(results.cells)
    shown = candidates(results.cells)

    def having(verdict: str) -> list[Decision]:
        return [decision for decision in found if decision.verdict == verdict]

    said = []
    if broken := having("fail"):
        worst = broken[0]
        by = f", worst {worst.cell.label} by {worst.margin.lstrip('-')}{_points(worst)}" if worst.check else ""
        said.append(f"{number_of(len(broken), 'limit was', 'limits were')} shown to be broken{by}")
    if errors := sum(cell.verdict == "error" for cell in shown):
        said.append(f"{number_of(errors, 'cell is an error', 'cells are errors')}")
    if gone := sum(cell.verdict == "improved" for cell in shown):
        said.append(
            f"{number_of(gone, 'known weakness is', 'known weaknesses are')} gone, which the suite still declares"
        )
    if unsure := having("inconclusive"):
        more = min((d.check.more_images for d in unsure if d.check and d.check.more_images), default=None)
        hint = f" (the nearest needs about {more} more)" if more else ""
        said.append(f"{number_of(len(unsure), 'limit is', 'limits are')} open, on too few images to tell{hint}")
    if left := sum(cell.verdict == "not run" for cell in shown):
        said.append(f"{number_of(left, 'cell was', 'cells were')} not run")
    if kept := having("pass"):
        firm = sum(not d.check.weak for d in found if d.check)
        number = number_of(len(kept), "limit was", "limits were")
        if len(kept) == firm and not said:
            number = f"all {number}" if firm > 1 else "the one limit was"
        said.append(f"{number} shown to hold")
    if weak := sum(cell.verdict == "known weakness" for cell in shown):
        said.append(
            f"{number_of(weak, 'cell is a known weakness', 'cells are known weaknesses')} that the suite declares"
        )
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _points(decision: Decision) -> str:
    return " points" if decision.room else ""


def accuracy_limit(cell: Result) -> float | None:
    """The accuracy that a candidate's cell must have, by the strictest of its limits on it; differences are taken from
    the baseline's own figure. None without one."""
    found = [check.bound for check in cell.checks if check.limit == "min_accuracy"]
    if cell.supervised:
        found += [cell.supervised.accuracy + c.bound for c in cell.checks if c.limit == "max_drop_vs_supervised"]
    return max(found, default=None)


def bound(cell: Result, *limits: str) -> float | None:
    """The bound of the first of these limits that was checked."""
    return next((check.bound for check in cell.checks if check.limit in limits), None)
