"""Intervals for accuracies and for differences of accuracies on the same images.

With `clusters` of images that belong together they hold for these; without they are those of independent images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from clip_robustness.metrics.binomial import at_most
from clip_robustness.metrics.clusters import Clusters, Effect, effect

_TAIL = 0.025
"""What each end of an interval leaves out."""

Correct = NDArray[np.bool_]
"""Per image, whether a prediction is right; shape (n,)."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; shares, not percent."""

    value: float
    low: float
    high: float


def flat(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """As figures by name, each with the ends of its interval."""
    found: dict[str, float] = {}
    for name, e in estimates.items():
        found |= {name: e.value, f"{name}_ci95_low": e.low, f"{name}_ci95_high": e.high}
    return found


def accuracy(correct: Correct, clusters: Clusters | None = None, looks: int = 1) -> Estimate:
    """Share of right predictions with its exact interval (Clopper & Pearson 1934), of clusters that of effective counts
    (Korn & Graubard 1998). `correct` must not be empty. It is wider where it is one of several `looks`, all of which
    together are to hold (Bonferroni)."""
    right, n = int(correct.sum()), len(correct)
    of = effect(correct, clusters)
    some, wrong, tail = of.count(right), of.count(n - right), of.tail(_TAIL / looks)
    low = betaincinv(some, wrong + 1, tail) if right else 0.0
    high = betaincinv(some + 1, wrong, 1 - tail) if right < n else 1.0
    return Estimate(right / n, float(low), float(high))


def _wilson(share: float, n: float, z: float) -> Estimate:
    """With the interval of Wilson 1927, which differences are made of."""
    middle, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n))


def mean(scores: NDArray[np.float64], clusters: Clusters | None = None) -> Estimate:
    """The mean of per-image scores (n,), n > 1, with its t interval. Scores need not be shares."""
    n, middle, of = len(scores), float(scores.mean()), effect(scores, clusters)
    reach = float(stdtrit(min(n - 1, of.df), 1 - _TAIL)) * float(scores.std(ddof=1)) / math.sqrt(of.count(n))
    return Estimate(middle, middle - reach, middle + reach)


def median(values: NDArray[np.float64], lowest: float, highest: float, clusters: Clusters | None = None) -> Estimate:
    """The median of values (n,), with the interval between order statistics that the binomial distribution gives, of
    clusters by the design effect of the share below it (Woodruff 1952).

    Fewer than six values have none of 95%: then it is all that is possible, from `lowest` to `highest`.
    """
    ordered = np.sort(values)
    n, middle = len(ordered), float(np.median(ordered))
    of = effect(values <= middle, clusters)
    ranks = np.arange(n) / of.deff
    below = int((at_most(ranks, of.count(n), 0.5) < of.tail(_TAIL)).sum())
    low, high = (ordered[below - 1], ordered[n - below]) if below else (lowest, highest)
    return Estimate(middle, float(low), float(high))


def unpaired_difference(
    first: Correct,
    second: Correct,
    clusters: Clusters | None = None,
    other_clusters: Clusters | None = None,
) -> Estimate:
    """accuracy(first) - accuracy(second) on different images, each with its clusters. Newcombe 1998 (Statistics in
    Medicine 17, 873-890), method 10."""

    def limits(correct: Correct, of: Effect) -> Estimate:
        return _wilson(float(correct.mean()), of.count(len(correct)), of.quantile(1 - _TAIL))

    a, b = limits(first, effect(first, clusters)), limits(second, effect(second, other_clusters))
    low, high = math.hypot(a.value - a.low, b.high - b.value), math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(a.value - b.value, a.value - b.value - low, a.value - b.value + high)


def paired_difference(first: Correct, second: Correct, clusters: Clusters | None = None) -> Estimate:
    """accuracy(first) - accuracy(second) on the same images, in the same order.

    Newcombe 1998 (Statistics in Medicine 17, 2635-2650), method 10: Wilson limits of both shares, combined with their
    correlation, which is corrected for continuity.
    """
    if len(first) != len(second):
        raise ValueError(f"a paired difference needs the same images, got {len(first)} and {len(second)}")
    of = effect(first.astype(int) - second, clusters)
    parts = (first & second, first & ~second, second & ~first, ~first & ~second)
    both, only_first, only_second, neither = (of.count(int(part.sum())) for part in parts)
    n, z = of.count(len(first)), of.quantile(1 - _TAIL)
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    covariance: float = both * neither - only_first * only_second
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    phi = covariance / math.sqrt(margins) if margins else 0.0
    a, b = (_wilson(float(correct.mean()), n, z) for correct in (first, second))
    difference = (int(parts[1].sum()) - int(parts[2].sum())) / len(first)

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    low = difference - reach(a.value - a.low, b.high - b.value)
    high = difference + reach(a.high - a.value, b.value - b.low)
    return Estimate(difference, low, high)
