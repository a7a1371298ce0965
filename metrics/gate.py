"""From evidence to a verdict: does the candidate keep the limits that a rule sets?

A limit fails only where the evidence against it would be a false alarm with a probability of at most half of alpha,
shared by all limits of the run; it passes where the evidence for it is as strong by itself; in between it is
inconclusive, and more images would tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from metrics.evidence import Tail, images_to_decide, rejected
from metrics.intervals import Estimate
from metrics.results import Cell, Check
from suites import Gate, Rule

Status = Literal["pass", "fail", "inconclusive", "not gated"]
_WORST_FIRST: tuple[Status, ...] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True)
class Evidence:
    """What was measured of a limit: the figure, `n` images, and how surprising that would be with the figure at the
    bound. `bound` has the sign of the figure: a drop of at most 0.05 is a difference of at least -0.05."""

    limit: str
    what: str
    bound: float
    estimate: Estimate
    tail: Tail
    n: int
    at_least: bool = True
    signed: bool = True


@dataclass(frozen=True)
class Verdict:
    status: Status
    reason: str
    checks: tuple[Check, ...] = ()


def judge(rule: Rule | None, found: Sequence[Evidence | str], gate: Gate, limits: int) -> Verdict:
    """Apply a rule to what was measured; a string says why a limit could not be checked, which fails.

    `limits` is how many the run checks: all share one probability of a false alarm (Holm's correction, whose first step
    this is; `corrected` does the others once all are known).
    """
    if rule is None:
        return Verdict("not gated", "no rule of the suite matches")
    missing = [reason for reason in found if isinstance(reason, str)]
    if missing:
        return Verdict("fail", "; ".join(missing))
    weak = limits if rule.known_weakness is not None else 1  # a weakness that is gone by chance is a false alarm, too
    checks = tuple(_check(e, gate.alpha / 2 / limits, gate.alpha / 2 / weak) for e in found if isinstance(e, Evidence))
    if not checks:
        return Verdict("not gated", f"rule '{rule.match}' asserts nothing here")
    status = next(status for status in _WORST_FIRST if status in {check.status for check in checks})
    return Verdict(status, "; ".join(c.reason for c in checks if c.status == status), checks)


def _check(e: Evidence, alpha_fail: float, alpha_pass: float) -> Check:
    sign = "+" if e.signed else ""
    numbers = f"{e.what} {e.estimate.value:{sign}.3f} [{e.estimate.low:{sign}.3f}, {e.estimate.high:{sign}.3f}]"
    bound, inside, outside = f"{e.bound:{sign}.3f}", "at least", "below"
    if not e.at_least:
        inside, outside = "at most", "above"
    needed = None
    if e.tail.worse <= alpha_fail:
        status, reason = "fail", f"{numbers} is {outside} {bound} (p = {e.tail.worse:.1g})"
    elif e.tail.holds <= alpha_pass:
        status, reason = "pass", f"{numbers} is {inside} {bound}"
    else:
        kept = (e.estimate.value >= e.bound) == e.at_least
        needed = images_to_decide(e.estimate, e.n, e.bound, alpha_pass if kept else alpha_fail)
        more = f"about {needed - e.n} more images would decide" if needed else "no number of images is likely to decide"
        status, reason = "inconclusive", f"{numbers} may be on either side of {bound}; {more}"
    more_images = needed - e.n if needed else None
    interval = (e.estimate.low, e.estimate.high)
    return Check(e.limit, e.bound, e.estimate.value, interval, e.tail.worse, e.tail.holds, status, reason, more_images)


def corrected(cells: Iterable[Cell], alpha: float, limits: int = 0) -> list[Cell]:
    """The other steps of Holm's correction: where some limits fail, the remaining ones share what is left of alpha.

    Only a run that fails anyway gets more failures by it, so no test's outcome has to be taken back. `limits` is how
    many there are where the cells are a part of a run.
    """
    cells = list(cells)
    checks = [(i, check) for i, cell in enumerate(cells) for check in cell.checks]
    failing = rejected([check.p_worse for _, check in checks], alpha / 2, limits)
    for (i, check), fails in zip(checks, failing, strict=True):
        if fails and cells[i].verdict == "inconclusive" and cells[i].family != "overlap":
            reason = f"{check.limit}: {check.reason.partition(';')[0]}, but fails as others fail (Holm's correction)"
            cells[i] = replace(cells[i], verdict="fail", reason=reason)
    return cells
