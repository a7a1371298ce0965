"""What a cell measures beside its accuracy."""

from __future__ import annotations

from metrics.intervals import Estimate, accuracy, mean
from metrics.outcomes import Outcomes
from suites.conditions import Condition


def figures(condition: Condition, outcomes: Outcomes) -> dict[str, Estimate]:
    """Name -> figure with its interval: pm-0 of videos, the flips of sequences, the shape bias of cue conflicts."""
    found = {name: accuracy(correct) for name, correct in outcomes.others.items()}
    if condition.is_sequence and len(outcomes.ids) > 1:
        step = condition["difficulty"]
        found["flip_probability"] = _not_negative(mean(outcomes.measures[f"flips-{step}"]))
        found["top5_distance"] = _not_negative(mean(outcomes.measures[f"top5-{step}"]))
    if condition.name == "cue-conflict" and (bias := shape_bias(outcomes)):
        found["shape_bias"] = bias
    return found


def shape_bias(outcomes: Outcomes) -> Estimate | None:
    """Geirhos et al. 2019: of the predictions that name the shape or the texture, the share that names the shape.

    Images whose shape and texture are of one class don't count. None where no prediction names either.
    """
    assert outcomes.rivals is not None
    conflict = outcomes.rivals != outcomes.labels
    decided = conflict & (outcomes.correct | (outcomes.predictions == outcomes.rivals))
    return accuracy(outcomes.correct[decided]) if decided.any() else None


def _not_negative(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high)
