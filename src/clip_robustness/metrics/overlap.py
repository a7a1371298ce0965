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

from clip_robustness.metrics.intervals import Correct, Estimate, accuracy, paired_difference, unpaired_difference

Overlapping = NDArray[np.bool_]
"""Per image, whether it has a near-duplicate among the pre-training images; shape (n,)."""


@dataclass(frozen=True)
class Split:
    """A model on a data set, all of it and its two parts, neither of which is empty.

    `removed` is accuracy(all) - accuracy(clean) given which images overlap, `p` the probability of a difference as
    large, either way, if it were by chance which of the images overlap: the permutation test of the marks, which for
    right and wrong answers is Fisher's exact test.
    """

    rate: Estimate
    all: Estimate
    overlapping: Estimate
    clean: Estimate
    removed: Estimate
    p: float


def split(correct: Correct, overlapping: Overlapping) -> Split:
    """`correct`, bool (n,), of images some of which overlap, but not all."""
    from scipy.stats import fisher_exact  # heavy, and nothing else needs it

    inside, outside = correct[overlapping], correct[~overlapping]
    gap, rate = unpaired_difference(inside, outside), accuracy(overlapping)
    table = [[int(part.sum()), int((~part).sum())] for part in (inside, outside)]
    return Split(
        rate=rate,
        all=accuracy(correct),
        overlapping=accuracy(inside),
        clean=accuracy(outside),
        removed=Estimate(rate.value * gap.value, rate.value * gap.low, rate.value * gap.high),
        p=float(fisher_exact(table).pvalue),
    )


def familiarity(ours: Correct, theirs: Correct, overlapping: Overlapping) -> Estimate:
    """How much more a candidate is ahead of its baseline on overlapping images than on clean ones.

    The baseline has not seen either, so that images which are easy for everyone cancel: ours - theirs on the one part
    minus ours - theirs on the other, each a paired difference, their intervals combined as those of independent ones
    (Zou & Donner 2008).
    """
    inside = paired_difference(ours[overlapping], theirs[overlapping])
    outside = paired_difference(ours[~overlapping], theirs[~overlapping])
    value = inside.value - outside.value
    return Estimate(
        value,
        value - math.hypot(inside.value - inside.low, outside.high - outside.value),
        value + math.hypot(inside.high - inside.value, outside.value - outside.low),
    )
