"""What a cell measures beside its accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from clip_robustness.conditions.condition import Condition
from clip_robustness.metrics.intervals import Estimate, accuracy, mean, median
from clip_robustness.metrics.outcomes import NEVER, Outcomes
from clip_robustness.results.results import Confusion


def figures(condition: Condition, outcomes: Outcomes) -> dict[str, Estimate]:
    """Name -> figure with its interval: pm-0 of videos, the flips of sequences, the shape bias of cue conflicts, of
    attacks the median of the smallest eps, in units of 1/255, the mean number of forward passes of an image, and how
    often the written word is predicted, or the chosen caption fits best."""
    clusters = outcomes.clusters
    found = {name: accuracy(correct, clusters) for name, correct in outcomes.others.items()}
    if condition.is_sequence and len(outcomes.ids) > 1:
        step = condition["difficulty"]
        found["flip_probability"] = _not_negative(mean(outcomes.measures[f"flips-{step}"], clusters))
        found["top5_distance"] = _not_negative(mean(outcomes.measures[f"top5-{step}"], clusters))
    if condition.name == "cue-conflict" and (bias := shape_bias(outcomes)):
        found["shape_bias"] = bias
    if (smallest := outcomes.measures.get("smallest_eps")) is not None:
        found["median_eps"] = median(255 * smallest, 0, 255 * NEVER, clusters)
    if (passes := outcomes.measures.get("passes")) is not None and len(passes) > 1:
        found["queries" if condition.by_score else "passes"] = _not_negative(mean(passes, clusters))
    if (stuck := outcomes.measures.get("zero_gradient")) is not None and not condition.by_score:
        found["zero_gradients"] = accuracy(stuck > 0, clusters)
    if (alone := outcomes.measures.get("square_alone")) is not None:
        found["fooled_by_square_alone"] = accuracy(alone > 0, clusters)
    if (words := outcomes.measures.get("word")) is not None:
        found["reads_the_word"] = accuracy(words > 0, clusters)
    if (taken := outcomes.measures.get("caption")) is not None:
        found["fits_the_caption"] = accuracy(taken > 0, clusters)
        found["fits_the_caption_when_clean"] = accuracy(outcomes.measures["caption_when_clean"] > 0, clusters)
    return found


def shape_bias(outcomes: Outcomes) -> Estimate | None:
    """Geirhos et al. 2019: of the predictions that name the shape or the texture, the share that names the shape.

    Images whose shape and texture are of one class don't count. None where no prediction names either.
    """
    assert outcomes.rivals is not None
    conflict = outcomes.rivals != outcomes.labels
    decided = conflict & (outcomes.correct | (outcomes.predictions == outcomes.rivals))
    of = outcomes.clusters[decided] if outcomes.clusters else None
    return accuracy(outcomes.correct[decided], of) if decided.any() else None


def confusions(outcomes: Outcomes, names: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """The most frequent mistakes, by the names of the classes."""
    wrong = ~outcomes.correct & (outcomes.predictions != outcomes.labels)
    pairs = zip(outcomes.labels[wrong].tolist(), outcomes.predictions[wrong].tolist(), strict=True)
    ordered = sorted(Counter(pairs).items(), key=lambda found: (-found[1], found[0]))
    return tuple(Confusion(names[label], names[predicted], count) for (label, predicted), count in ordered[:most])


def eps_quantiles(outcomes: Outcomes) -> tuple[float, ...]:
    """The 0%, 5%, ... 100% quantiles of the smallest eps, in 1/255; each is one image's. Nothing without a search."""
    smallest = outcomes.measures.get("smallest_eps")
    if smallest is None or not len(smallest):
        return ()
    found = np.quantile(255 * smallest, np.linspace(0, 1, 21), method="inverted_cdf")
    return tuple(round(eps, 4) for eps in found.tolist())


def _not_negative(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high)
