"""Intervals for accuracies and for differences of accuracies on the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from clip_robustness.metrics.binomial import at_most

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


def accuracy(correct: Correct) -> Estimate:
    """Share of right predictions with its exact interval (Clopper & Pearson 1934). `correct` must not be empty."""
    right, n = int(correct.sum()), len(correct)
    low = betaincinv(right, n - right + 1, _TAIL) if right else 0.0
    high = betaincinv(right + 1, n - right, 1 - _TAIL) if right < n else 1.0
    return Estimate(right / n, float(low), float(high))


def _wilson(correct: Correct) -> Estimate:
    """With the interval of Wilson 1927, which differences are made of."""
    n, share = len(correct), float(correct.mean())
    z = float(ndtri(1 - _TAIL))
    middle, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n))


def mean(scores: NDArray[np.float64]) -> Estimate:
    """The mean of per-image scores (n,), n > 1, with its t interval. Scores need not be shares."""
    n, middle = len(scores), float(scores.mean())
    reach = float(stdtrit(n - 1, 1 - _TAIL)) * float(scores.std(ddof=1)) / math.sqrt(n)
    return Estimate(middle, middle - reach, middle + reach)


def median(values: NDArray[np.float64], lowest: float, highest: float) -> Estimate:
    """The median of values (n,), with the interval between order statistics that the binomial distribution gives.

    Fewer than six values have none of 95%: then it is all that is possible, from `lowest` to `highest`.
    """
    ordered = np.sort(values)
    n = len(ordered)
    below = int((at_most(np.arange(n // 2 + 1), n, 0.5) < _TAIL).sum())
    low, high = (ordered[below - 1], ordered[n - below]) if below else (lowest, highest)
    return Estimate(float(np.median(ordered)), float(low), float(high))


def unpaired_difference(first: Correct, second: Correct) -> Estimate:
    """accuracy(first) - accuracy(second) on different images. Newcombe 1998 (Statistics in Medicine 17, 873-890),
    method 10."""
    a, b = _wilson(first), _wilson(second)
    low, high = math.hypot(a.value - a.low, b.high - b.value), math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(a.value - b.value, a.value - b.value - low, a.value - b.value + high)


def paired_difference(first: Correct, second: Correct) -> Estimate:
    """accuracy(first) - accuracy(second) on the same images, in the same order.

    Newcombe 1998 (Statistics in Medicine 17, 2635-2650), method 10: Wilson limits of both shares, combined with their
    correlation, which is corrected for continuity.
    """
    if len(first) != len(second):
        raise ValueError(f"a paired difference needs the same images, got {len(first)} and {len(second)}")
    n = len(first)
    both, only_first = int((first & second).sum()), int((first & ~second).sum())
    only_second, neither = int((second & ~first).sum()), int((~first & ~second).sum())
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    covariance: float = both * neither - only_first * only_second
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    phi = covariance / math.sqrt(margins) if margins else 0.0
    a, b = _wilson(first), _wilson(second)
    difference = (only_first - only_second) / n

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    low = difference - reach(a.value - a.low, b.high - b.value)
    high = difference + reach(a.high - a.value, b.value - b.low)
    return Estimate(difference, low, high)
