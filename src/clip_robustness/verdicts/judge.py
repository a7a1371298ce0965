"""From evidence to a verdict: does the candidate keep the limits that a rule sets?

A limit fails only where the evidence against it would be a false alarm with a probability of at most half of alpha,
shared by all limits of the run; it passes where the evidence for it is as strong by itself; in between it is
inconclusive, and more images would tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.evidence import CORRECTIONS, Tail, images_to_decide, level, rejected
from clip_robustness.metrics.intervals import Estimate
from clip_robustness.results.result import Check, Result, spoken, written
from clip_robustness.suites import Gate
from clip_robustness.suites.rules import Limit, Rule

Status = Literal["pass", "fail", "inconclusive", "improved", "known weakness", "not gated"]
_WORST_FIRST: tuple[Status, ...] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True)
class Evidence:
    """What was measured of a limit: the figure, `n` images, and how surprising that would be with the figure at the
    bound. `bound` has the sign of the figure: a drop of at most 0.05 is a difference of at least -0.05. `clusters` are
    those of the images, `unit` as in `registry.limit`."""

    what: str
    bound: float
    estimate: Estimate
    tail: Tail
    n: int
    at_least: bool = True
    signed: bool = True
    clusters: Clusters | None = None
    limit: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """`settled`: more images would not change it."""

    status: Status
    reason: str
    checks: tuple[Check, ...] = ()
    settled: bool = False


def judge(
    limits: Sequence[Limit], found: Sequence[Evidence | str], gate: Gate, of: int, ungated: str = "no rule has a limit"
) -> Verdict:
    """What was measured of each limit against it; a string says why it could not be checked, which fails.

    `of` is how many limits the run checks: all share one probability of a false alarm (Holm's correction, or that of
    the gate, whose first step this is; `corrected` does the others once all are known). A known weakness excuses the
    limits of its own rule alone: what fails of the others fails. `ungated` says why there are no limits.
    """
    if not limits:
        return Verdict("not gated", ungated)
    alpha = gate.alpha / 2
    alone = level(alpha, 0, of, gate.correction)
    parts: dict[Rule | None, list[Check | str]] = {}  # those of each known weakness, and the others
    for limit, e in zip(limits, found, strict=True):
        # a weakness that is gone by chance is a false alarm, too
        checked = e if isinstance(e, str) else _check(e, alone, alone if limit.weak else alpha, limit.weak)
        parts.setdefault(limit.rule if limit.weak else None, []).append(checked)
    checks = tuple(check for part in parts.values() for check in part if isinstance(check, Check))
    said = {rule: _worst(part) for rule, part in parts.items()}
    settled = all(status != "inconclusive" for status, _ in said.values())
    status, reason = said.pop(None, ("pass", ""))
    weak = {rule: why for rule, (_, why) in said.items() if rule}
    gone = {rule: why for rule, why in weak.items() if said[rule][0] == "pass"}
    if status == "fail":
        settled = True
    elif gone:
        named = "; ".join(f"{why}; remove known_weakness from rule '{rule.match}'" for rule, why in gone.items())
        status, reason = "improved", f"declared as a known weakness, but {named}"
    elif weak and status == "pass":
        status, reason = "known weakness", "; ".join(f"{rule.known_weakness}: {why}" for rule, why in weak.items())
    return Verdict(status, reason, checks, settled)


def doubted(verdict: Verdict, doubts: Sequence[str]) -> Verdict:
    """A verdict under an attack that may not have found what there is to find: it can show that a limit is broken, not
    that it is kept."""
    if not doubts or verdict.status not in ("pass", "improved"):
        return verdict
    checks = tuple(replace(c, status="inconclusive") if c.status == "pass" else c for c in verdict.checks)
    return replace(verdict, status="inconclusive", reason=f"{'; '.join(doubts)}: {verdict.reason}", checks=checks)


def _worst(part: Sequence[Check | str]) -> tuple[Status, str]:
    """The worst status of limits that stand together, and why."""
    if missing := [reason for reason in part if isinstance(reason, str)]:
        return "fail", "; ".join(missing)
    checks = [check for check in part if isinstance(check, Check)]
    status = next(status for status in _WORST_FIRST if status in {check.status for check in checks})
    return status, "; ".join(check.reason for check in checks if check.status == status)


def _check(e: Evidence, alpha_fail: float, alpha_pass: float, weak: bool) -> Check:
    sign = "+" if e.signed else ""
    value, low, high, limit = (
        written(x, e.unit, sign) for x in (e.estimate.value, e.estimate.low, e.estimate.high, e.bound)
    )
    numbers, inside, outside = f"{e.what} {value} [{low}, {high}]", "at least", "below"
    bound = f"{limit}{spoken(e.unit)}"
    if not e.at_least:
        inside, outside = "at most", "above"
    needed = None
    if e.tail.p_violation <= alpha_fail:
        status, reason = "fail", f"{numbers} is {outside} {bound} (p = {e.tail.p_violation:.1g})"
    elif e.tail.p_compliance <= alpha_pass:
        status, reason = "pass", f"{numbers} is {inside} {bound}"
    elif e.clusters and e.clusters.untrusted:
        status, reason = "inconclusive", f"{numbers}: {e.clusters.untrusted}"
    else:
        kept = (e.estimate.value >= e.bound) == e.at_least
        needed = images_to_decide(e.estimate, e.n, e.bound, alpha_pass if kept else alpha_fail)
        more = f"about {needed - e.n} more images would decide" if needed else "no number of images is likely to decide"
        status, reason = "inconclusive", f"{numbers} may be on either side of {bound}; {more}"
    more_images = needed - e.n if needed else None
    interval = (e.estimate.low, e.estimate.high)
    p_values = e.tail.p_violation, e.tail.p_compliance
    return Check(
        e.limit, e.bound, e.estimate.value, interval, *p_values, status, reason, more_images, weak, e.at_least, e.unit
    )


def corrected(
    cells: Iterable[Result], alpha: float, limits: int = 0, *, report_only: bool = False, correction: str = "holm"
) -> list[Result]:
    """The other steps of a correction: where some limits fail, the remaining ones share what is left of alpha.

    `limits` is how many there are where the cells are a part of a run.
    """
    cells = list(cells)
    checks = [(i, check) for i, cell in enumerate(cells) for check in cell.checks]
    failing = rejected([check.p_violation for _, check in checks], alpha / 2, limits, correction)
    for (i, check), fails in zip(checks, failing, strict=True):
        open_still = cells[i].verdict in ("inconclusive", "improved") and check.status == "inconclusive"
        if fails and open_still and not check.weak and cells[i].family != "overlap":
            reason = (
                f"{check.limit}: {check.reason.partition(';')[0]}, but fails as others fail ({CORRECTIONS[correction]})"
            )
            broken = replace(check, status="fail", reason=reason)
            told = tuple(broken if c is check else c for c in cells[i].checks)
            cells[i] = replace(cells[i], verdict="fail", reason=reason, checks=told, allowed=report_only)
    return cells
