"""Figures of a cell beside its accuracy, each with its interval: one function, one registration."""

from __future__ import annotations

from clip_robustness.conditions.condition import Condition
from clip_robustness.metrics import groups
from clip_robustness.metrics.calibration import calibration_error
from clip_robustness.metrics.intervals import Estimate, accuracy, mean, median, paired_difference
from clip_robustness.metrics.outcomes import NEVER, Outcomes
from clip_robustness.metrics.seeds import spread
from clip_robustness.registry import figure


@figure("flip_probability")
def flip_probability(condition: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of a sequence, how often the prediction changes from frame to frame."""
    return _of_frames("flips", condition, outcomes)


@figure("top5_distance")
def top5_distance(condition: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of a sequence, how far its five best classes move from frame to frame."""
    return _of_frames("top5", condition, outcomes)


def _of_frames(what: str, condition: Condition, outcomes: Outcomes) -> Estimate | None:
    if not condition.kind.is_sequence or len(outcomes.ids) < 2:
        return None
    return _not_negative(mean(outcomes.measures[f"{what}-{condition['difficulty']}"], outcomes.clusters))


@figure("shape_bias")
def shape_bias(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Geirhos et al. 2019: of the predictions that name the shape or the texture, the share that names the shape.

    Images whose shape and texture are of one class don't count. None where no prediction names either, and where the
    rival is a written word.
    """
    if outcomes.rivals is None or "among_all" in outcomes.measures:
        return None
    conflict = (outcomes.rivals >= 0) & (outcomes.rivals != outcomes.labels)
    decided = conflict & (outcomes.correct | (outcomes.predictions == outcomes.rivals))
    of = outcomes.clusters[decided] if outcomes.clusters else None
    return accuracy(outcomes.correct[decided], of) if decided.any() else None


@figure("median_eps")
def median_eps(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of the smallest eps that fools, in units of 1/255."""
    smallest = outcomes.measures.get("smallest_eps")
    return None if smallest is None else median(255 * smallest, 0, 255 * NEVER, outcomes.clusters)


@figure("worst_factor")
def worst_factor(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """The accuracy in the worst of the groups that images are told apart by."""
    found = groups.groups_of(outcomes.groups)
    return groups.worst_group(outcomes.correct, found, outcomes.clusters).estimate if found else None


@figure("worst_classes")
def worst_classes(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of images that are told apart, the accuracy of the worst tenth of the classes, on the half that did not say which
    they are."""
    found = groups.of_worst_classes(outcomes) if outcomes.groups else None
    return accuracy(*found) if found else None


@figure("template_spread")
def template_spread(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of several wordings, how far the best is above the worst."""
    best = outcomes.measures.get("best")
    return None if best is None else paired_difference(best > 0, outcomes.correct, outcomes.clusters)


@figure("auroc")
def auroc(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of images of no class against the clean ones, whose sample is taken as it is."""
    placed = outcomes.measures.get("placed")
    return None if placed is None or len(placed) < 2 else mean(placed, outcomes.clusters)


@figure("calibration_error")
def expected_calibration_error(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Between how sure predictions are and how often they are right."""
    confidence = outcomes.measures.get("confidence")
    if confidence is None or len(confidence) < 2:
        return None
    return calibration_error(confidence, outcomes.correct, outcomes.clusters)


@figure("confidence")
def confidence(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """The mean probability of the predicted class."""
    found = outcomes.measures.get("confidence")
    return None if found is None or len(found) < 2 else mean(found, outcomes.clusters)


@figure("sd_between_seeds")
def sd_between_seeds(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of the accuracy on the same images: what another seed changes of it."""
    return spread(outcomes)


@figure("passes")
def passes(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """The mean number of forward passes of an image under attack."""
    return _count("passes", outcomes)


@figure("queries")
def queries(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """The same under an attack that sees logits alone."""
    return _count("queries", outcomes)


def _count(what: str, outcomes: Outcomes) -> Estimate | None:
    counts = outcomes.measures.get(what)
    return None if counts is None or len(counts) < 2 else _not_negative(mean(counts, outcomes.clusters))


@figure("zero_gradients")
def zero_gradients(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """How often a gradient was zero or not finite."""
    return _how_often("zero_gradient", outcomes)


@figure("fooled_by_square_alone")
def fooled_by_square_alone(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of attacks one after the other, how often the one that takes no gradient finds what those before it did not."""
    return _how_often("blind_alone", outcomes)


@figure("accuracy_among_all")
def accuracy_among_all(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """Of images that are judged between two classes, the accuracy among all of the set's names."""
    return _how_often("among_all", outcomes)


@figure("reads_the_word")
def reads_the_word(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """How often the written word is predicted."""
    return _how_often("word", outcomes)


@figure("fits_the_caption")
def fits_the_caption(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """How often the chosen caption fits better than any class."""
    return _how_often("caption", outcomes)


@figure("fits_the_caption_when_clean")
def fits_the_caption_when_clean(_: Condition, outcomes: Outcomes) -> Estimate | None:
    """The same before the attack."""
    return _how_often("caption_when_clean", outcomes)


def _how_often(what: str, outcomes: Outcomes) -> Estimate | None:
    marks = outcomes.measures.get(what)
    return None if marks is None else accuracy(marks > 0, outcomes.clusters)


def _not_negative(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high)
