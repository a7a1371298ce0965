"""What a cell measures beside its accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from clip_robustness import registry
from clip_robustness.conditions.condition import Condition
from clip_robustness.metrics.groups import groups_of
from clip_robustness.metrics.intervals import Estimate, accuracy
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.results.result import Confusion, GroupAccuracy


def figures(condition: Condition, outcomes: Outcomes) -> dict[str, Estimate]:
    """Name -> figure with its interval: pm-0 of videos, and what is registered."""
    found = {name: accuracy(correct, outcomes.clusters) for name, correct in outcomes.others.items()}
    for name in registry.names("figure"):
        estimate: Estimate | None = registry.find("figure", name).function(condition, outcomes)
        if estimate is not None:
            found[name] = estimate
    return found


def confusions(outcomes: Outcomes, names: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """The most frequent mistakes, by the names of the classes."""
    wrong = ~outcomes.correct & (outcomes.predictions != outcomes.labels)
    pairs = zip(outcomes.labels[wrong].tolist(), outcomes.predictions[wrong].tolist(), strict=True)
    ordered = sorted(Counter(pairs).items(), key=lambda found: (-found[1], found[0]))
    return tuple(Confusion(names[label], names[predicted], count) for (label, predicted), count in ordered[:most])


def in_groups(outcomes: Outcomes) -> tuple[GroupAccuracy, ...]:
    """The accuracy in each group that images are told apart by, the worst first; none of groups of a few images."""
    found = []
    for group in groups_of(outcomes.groups):
        of = outcomes.clusters[group.chosen] if outcomes.clusters else None
        e = accuracy(outcomes.correct[group.chosen], of)
        found.append(GroupAccuracy(group.name, int(group.chosen.sum()), e.value, (e.low, e.high)))
    return tuple(sorted(found, key=lambda group: group.accuracy))


def eps_quantiles(outcomes: Outcomes) -> tuple[float, ...]:
    """The 0%, 5%, ... 100% quantiles of the smallest eps, in 1/255; each is one image's. Nothing without a search."""
    smallest = outcomes.measures.get("smallest_eps")
    if smallest is None or not len(smallest):
        return ()
    found = np.quantile(255 * smallest, np.linspace(0, 1, 21), method="inverted_cdf")
    return tuple(round(eps, 4) for eps in found.tolist())
