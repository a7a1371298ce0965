"""The worst of several groups of images, and the worst classes, with intervals that account for having looked for them.

The smallest of many shares that were measured is too small, and looks too certain. For groups: the true figure of the
worst group is at least the smallest of the groups' lower ends, each of 95%, and at most the smallest of their upper
ends at a level that is divided by their number (Bonferroni). For classes, which are many and small: half of the images
say which are the worst, and the other half what their accuracy is, so that nothing is chosen by what is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_robustness.metrics import evidence
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.evidence import Tail
from clip_robustness.metrics.intervals import Correct, Estimate, accuracy
from clip_robustness.metrics.outcomes import Outcomes

FEWEST = 10
"""Images of a group that is looked at: of fewer nothing is known."""
_WORST = 0.1
"""The share of classes that are the worst ones, as the 100 of ImageNet's in Idrissi et al. 2022."""


@dataclass(frozen=True)
class Group:
    """Of all images (n,) those that are in it."""

    name: str
    chosen: NDArray[np.bool_]


@dataclass(frozen=True)
class Worst:
    """The worst of groups by its name, of `n` images, with the interval of the worst group's accuracy, whichever it
    is."""

    name: str
    n: int
    estimate: Estimate


def groups_of(names: Sequence[Sequence[str]]) -> list[Group]:
    """Those with enough images, from the groups of each image, by name."""
    every = sorted({name for of in names for name in of})
    found = [Group(name, np.array([name in of for of in names], bool)) for name in every]
    return [group for group in found if group.chosen.sum() >= FEWEST]


def worst_group(correct: Correct, groups: Sequence[Group], clusters: Clusters | None = None) -> Worst:
    """Of one or more groups."""
    alone = [_of(correct, group, clusters) for group in groups]
    together = [_of(correct, group, clusters, len(groups)) for group in groups]
    worst = min(range(len(groups)), key=lambda i: alone[i].value)
    low, high = min(e.low for e in alone), min(e.high for e in together)
    return Worst(groups[worst].name, int(groups[worst].chosen.sum()), Estimate(alone[worst].value, low, high))


def worst_group_at_least(
    correct: Correct, groups: Sequence[Group], bound: float, clusters: Clusters | None = None
) -> Tail:
    """That no group is below `bound`: broken where one is, after Bonferroni's correction; kept where each is shown to
    be (an intersection-union test, Berger 1982)."""
    tails = [evidence.share(correct[g.chosen], bound, clusters and clusters[g.chosen]) for g in groups]
    return Tail(min(1.0, len(tails) * min(t.p_violation for t in tails)), max(t.p_compliance for t in tails))


def worst_classes(
    ids: Sequence[str], labels: NDArray[np.int64], correct: Correct, clusters: Clusters | None
) -> NDArray[np.bool_]:
    """Of all images (n,) those by which the worst tenth of the classes is judged: images of the second half, of the
    classes with the lowest accuracies in the first one. Clusters are not torn apart; the halves depend on ids alone."""
    first = halves(ids, labels, clusters)
    shares: Mapping[int, float] = {
        label: float(correct[first & (labels == label)].mean())
        for label in np.unique(labels[first]).tolist()
        if (~first & (labels == label)).any()
    }
    worst = sorted(shares, key=lambda label: (shares[label], label))[: max(1, round(_WORST * len(shares)))]
    return ~first & np.isin(labels, worst)


def of_worst_classes(outcomes: Outcomes) -> tuple[Correct, Clusters | None] | None:
    """What is correct on the images that judge the worst classes, and which of these belong together; None where no
    class has two images."""
    chosen = worst_classes(outcomes.ids, outcomes.labels, outcomes.correct, outcomes.clusters)
    clusters = outcomes.clusters[chosen] if outcomes.clusters else None
    return (outcomes.correct[chosen], clusters) if chosen.any() else None


def halves(ids: Sequence[str], labels: NDArray[np.int64], clusters: Clusters | None) -> NDArray[np.bool_]:
    """Which images (n,) are in the first half of their class, by a hash of ids; clusters are not torn apart."""
    names = [f"cluster {place}" for place in clusters.ways[0].tolist()] if clusters else list(ids)
    first = np.zeros(len(ids), bool)
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        ordered = sorted({names[i] for i in members}, key=_shuffled)
        half = set(ordered[: (len(ordered) + 1) // 2])
        first[members] = [names[i] in half for i in members]
    return first


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()


def _of(correct: Correct, group: Group, clusters: Clusters | None, looks: int = 1) -> Estimate:
    return accuracy(correct[group.chosen], clusters and clusters[group.chosen], looks)
