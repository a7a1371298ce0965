"""How much of an accuracy comes from images that overlap with the pre-training set.

The clean images are a part of all images, so accuracies on all and on the clean part are not two samples: whatever
happens on the clean part is in both and cancels. What is left of all - clean is the share of overlapping images times
the difference between overlapping and clean ones, which have no image in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtr

from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.intervals import Correct, Estimate, accuracy, paired_difference, unpaired_difference

Overlapping = NDArray[np.bool_]
"""Per image, whether it has a near-duplicate among the pre-training images; shape (n,)."""


@dataclass(frozen=True)
class Split:
    """A model on a data set, all of it and its two parts, neither of which is empty.

    `removed` is accuracy(all) - accuracy(clean) given which images overlap, `p` the probability of a difference as
    large, either way, if it were by chance which of the images overlap: the permutation test of the marks, which for
    right and wrong answers is Fisher's exact test. Of images that belong together it is the score test of the marks
    with the variance between clusters (Rao & Scott 1992, Student's t), 1 where these are too few to know it.
    """

    rate: Estimate
    all: Estimate
    overlapping: Estimate
    clean: Estimate
    removed: Estimate
    p: float


def split(correct: Correct, overlapping: Overlapping, clusters: Clusters | None = None) -> Split:
    """`correct`, bool (n,), of images some of which overlap, but not all."""
    inside, outside = correct[overlapping], correct[~overlapping]
    ours, others = (clusters[marks] if clusters else None for marks in (overlapping, ~overlapping))
    gap, rate = unpaired_difference(inside, outside, ours, others), accuracy(overlapping, clusters)
    return Split(
        rate=rate,
        all=accuracy(correct, clusters),
        overlapping=accuracy(inside, ours),
        clean=accuracy(outside, others),
        removed=Estimate(rate.value * gap.value, rate.value * gap.low, rate.value * gap.high),
        p=_clustered(correct, overlapping, clusters)
        if clusters
        else fisher(int(inside.sum()), len(inside), int(correct.sum()), len(correct)),
    )


def fisher(marked: int, drawn: int, good: int, total: int) -> float:
    """Two-sided p-value of Fisher's exact test: of all ways to draw `drawn` of `total`, `good` of which count, the
    share of those that are no more likely than the one with `marked`, equally likely ones up to rounding among them.

    `scipy.stats`, which has it, takes a second to import.
    """
    counts = np.arange(max(0, drawn - (total - good)), min(drawn, good) + 1)
    parts = counts, good - counts, drawn - counts, total - good - drawn + counts
    likelihood = -sum(gammaln(part + 1.0) for part in parts)
    likelihood = np.exp(likelihood - likelihood.max())
    rare = likelihood <= likelihood[marked - counts[0]] * (1 + 1e-7)
    return min(1.0, float(likelihood[rare].sum() / likelihood.sum()))


def _clustered(correct: Correct, overlapping: Overlapping, clusters: Clusters) -> float:
    scores = (overlapping - overlapping.mean()) * (correct - correct.mean())
    if clusters.untrusted or not scores.any():
        return 1.0
    of, n = effect(scores, clusters), len(scores)
    t = abs(scores.mean()) / scores.std(ddof=1) * math.sqrt(of.count(n))
    return min(1.0, 2 * float(stdtr(of.df, -t)))


def familiarity(ours: Correct, theirs: Correct, overlapping: Overlapping, clusters: Clusters | None = None) -> Estimate:
    """How much more a candidate is ahead of its baseline on overlapping images than on clean ones.

    The baseline has not seen either, so that images which are easy for everyone cancel: ours - theirs on the one part
    minus ours - theirs on the other, each a paired difference, their intervals combined as those of independent ones
    (Zou & Donner 2008).
    """
    inside, outside = (
        paired_difference(ours[marks], theirs[marks], clusters[marks] if clusters else None)
        for marks in (overlapping, ~overlapping)
    )
    value = inside.value - outside.value
    return Estimate(
        value,
        value - math.hypot(inside.value - inside.low, outside.high - outside.value),
        value + math.hypot(inside.high - inside.value, outside.value - outside.low),
    )
