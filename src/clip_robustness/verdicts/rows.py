"""Rows of the results out of outcomes and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clip_robustness.conditions.condition import Condition
from clip_robustness.metrics.clusters import effect
from clip_robustness.metrics.intervals import Estimate, accuracy, flat
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results.result import Baseline, Figure, PerImage, Result
from clip_robustness.suites import Gate
from clip_robustness.verdicts.judge import Verdict
from clip_robustness.verdicts.measures import confusions, eps_quantiles, figures, in_groups


def row_of(spec: ModelSpec, role: str, condition: Condition, outcomes: Outcomes, names: Sequence[str]) -> Result:
    """What was measured of a model, as a baseline has it: without a verdict. `names` are those of the labels."""
    one_each = condition.kind.is_attack and outcomes.seeds == 1
    estimate, of = accuracy(outcomes.correct, outcomes.clusters), effect(outcomes.correct, outcomes.clusters)
    return Result(
        family=condition.family,
        condition=condition.name,
        params=dict(condition.params),
        model=spec.text,
        role=role,
        verdict="baseline",
        reason="",
        n=len(outcomes.correct),
        correct=int(outcomes.correct.sum()),
        accuracy=estimate.value,
        ci95=(estimate.low, estimate.high),
        n_clusters=outcomes.clusters.count if outcomes.clusters else 0,
        design_effect=round(of.deff, 4),
        n_effective=round(of.count(len(outcomes.correct)), 2),
        metrics=flat(figures(condition, outcomes)),
        unreadable=outcomes.unreadable,
        warnings=outcomes.notes,
        confusions=confusions(outcomes, names),
        groups=in_groups(outcomes),
        smallest_eps=eps_quantiles(outcomes),
        per_image=PerImage.of(outcomes.ids, outcomes.correct, outcomes.clusters) if one_each else None,
        seconds=round(outcomes.seconds, 3),
    )


def judged(row: Result, verdict: Verdict, limits: int, gate: Gate, test: str) -> Result:
    """A candidate's row with its verdict; `limits` are those that are no known weakness."""
    allowed = gate.report_only or (verdict.status == "inconclusive" and gate.on_inconclusive == "warn")
    return replace(
        row,
        verdict=verdict.status,
        reason=verdict.reason,
        limits=limits,
        checks=verdict.checks,
        allowed=allowed,
        test=test,
    )


def compared_with(row: Result, spec: ModelSpec, baseline: Estimate, difference: Estimate) -> Result:
    """A candidate's row beside the accuracy of a supervised baseline, and the difference to it."""
    return replace(
        row,
        supervised=Baseline(spec.text, baseline.value, (baseline.low, baseline.high)),
        difference=Figure(difference.value, (difference.low, difference.high)),
    )
