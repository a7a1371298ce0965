"""From evidence to a verdict: is the candidate worse than a rule allows?

A rule fails only where its 95% interval lies wholly on the wrong side, passes only where it lies wholly on the right
side, and is inconclusive in between: then more images would tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metrics.intervals import Estimate
from suites import Rule

Status = Literal["pass", "fail", "inconclusive", "not gated"]


@dataclass(frozen=True)
class Verdict:
    status: Status
    reason: str


def judge(rule: Rule | None, accuracy: Estimate, difference: Estimate | None) -> Verdict:
    """Apply a rule. `difference` is candidate minus supervised baseline, None where there is no baseline."""
    if rule is None:
        return Verdict("not gated", "no rule of the suite matches")
    parts: list[Verdict] = []
    if rule.min_accuracy is not None:
        parts.append(_at_least("accuracy", accuracy, rule.min_accuracy))
    if rule.max_drop_vs_supervised is not None:
        if difference is None:
            parts.append(Verdict("fail", "max_drop_vs_supervised needs a baseline; give one with --supervised"))
        else:
            parts.append(
                _at_least("difference to the supervised baseline", difference, -rule.max_drop_vs_supervised, sign="+")
            )
    if not parts:
        return Verdict("not gated", f"rule '{rule.match}' asserts nothing")
    order: tuple[Status, ...] = ("fail", "inconclusive", "pass")
    status = min((part.status for part in parts), key=order.index)
    return Verdict(status, "; ".join(part.reason for part in parts if part.status == status))


def _at_least(what: str, estimate: Estimate, bound: float, sign: str = "") -> Verdict:
    numbers = f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
    if estimate.high < bound:
        return Verdict("fail", f"{what} {numbers} is below {bound:{sign}.3f}")
    if estimate.low >= bound:
        return Verdict("pass", f"{what} {numbers} is at least {bound:{sign}.3f}")
    return Verdict("inconclusive", f"{what} {numbers} may be above or below {bound:{sign}.3f}")
