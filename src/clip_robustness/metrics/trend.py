"""Effective robustness (Taori et al. 2020, "Measuring robustness to natural distribution shifts").

Among supervised models the accuracy under a natural shift follows the clean accuracy, on a straight line in logit
space. Effective robustness is how far above that line a model is. For sets with classes of their own the clean accuracy
is the one on the same classes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.intervals import Correct, Estimate, accuracy

_DATA = Path(__file__).parent / "data"
_DRAWS = 5000
_FAR, _GAP = 4.0, 0.1
_EDGE = 1e-4
"""Shares are kept so far from 0 and 1, where the logit ends: imagenet-a has models at 0."""

Lines = NDArray[np.float64]
"""Slopes and intercepts in logit space, shape (n, 2)."""


@dataclass(frozen=True)
class Trend:
    """A line in logit space, fitted by least squares over `models` supervised models; `r2` is its R squared there.

    `resampled` are the lines that bootstrap samples of the models give, `spread` is the models' standard deviation
    about the line, in logits.
    """

    line: Lines
    r2: float
    models: int
    resampled: Lines
    spread: float
    source: str = "published trend"

    def __call__(self, clean: float) -> float:
        """Clean accuracy -> the accuracy under shift that the trend predicts; shares."""
        return float(_predicted(self.line, clean)[0])

    def band(self, clean: float) -> tuple[float, float]:
        """The 95% interval of the prediction, for the models that the trend happens to be fitted on."""
        low, high = np.quantile(_predicted(self.resampled, clean), (0.025, 0.975))
        return float(low), float(high)

    def lowest(self, clean: float) -> float:
        """The accuracy that a model has which is further below the line than next to any of those it is fitted on."""
        return float(expit(_logits(self(clean)) - _FAR * self.spread))


def fit(clean: ArrayLike, shifted: ArrayLike) -> Trend:
    """Fit the trend to shares (n,) of supervised models, three at least. Raises `ValueError` where all have the same
    clean accuracy."""
    x, y = _logits(clean), _logits(shifted)
    if not np.ptp(x):
        raise ValueError("a trend needs models of other clean accuracies")
    draws = np.random.default_rng(0).integers(0, len(x), (_DRAWS, len(x)))
    draws = np.resize(draws[np.ptp(x[draws], axis=1) > 0], draws.shape)  # through one model alone there is no line
    line = _least_squares(x[None], y[None])
    residuals = y - line[0, 0] * x  # and the intercept, which their deviation does not depend on
    r2 = float(1 - residuals.var() / y.var()) if np.ptp(y) else 1.0
    spread = float(residuals.std(ddof=2))
    return Trend(line, r2, len(x), _least_squares(x[draws], y[draws]), spread)


@cache
def published(shift: str) -> Trend | None:
    """The trend of a natural shift, over published accuracies of models trained on ImageNet-1k alone; else None."""
    pairs = published_accuracies(shift)
    return None if pairs is None else fit(*pairs.T)


@cache
def published_accuracies(shift: str) -> NDArray[np.float64] | None:
    """Clean accuracy and accuracy under a natural shift of these models, shares (models, 2); None where there are
    none."""
    for file in sorted(_DATA.glob("trend_*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        clean = f"clean-{shift}-classes" if f"clean-{shift}-classes" in rows[0] else "imagenet"
        if shift in rows[0] and shift != "imagenet":
            return np.array([(row[clean], row[shift]) for row in rows if row[clean] and row[shift]], float)
    return None


def effective_robustness(
    trend: Trend,
    shifted: Correct,
    clean: Correct,
    clusters: Clusters | None = None,
    clean_clusters: Clusters | None = None,
    *,
    scatter: bool = False,
) -> Estimate:
    """Accuracy under shift minus what the trend predicts from the clean accuracy.

    The 95% interval holds what both samples of images and the choice of the trend's models leave open: percentiles
    over draws of all three. With `scatter` it is a prediction interval: also of where a single model of the kind that
    the trend is fitted on may lie about it, by Student's t with as many degrees of freedom as models less two.
    """
    draws = redrawn_robustness(trend, shifted, clean, clusters, clean_clusters, scatter=scatter)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(float(shifted.mean()) - trend(float(clean.mean())), float(low), float(high))


def far_below(trend: Trend, shifted: Correct, clean: Correct) -> bool:
    """Whether an accuracy under shift is implausibly low: four standard deviations and ten points below the trend, and
    not because there are few images."""
    at_least, most = accuracy(clean).low, accuracy(shifted).high
    return most < min(trend.lowest(at_least), trend(at_least) - _GAP)


def redrawn_robustness(
    trend: Trend,
    shifted: Correct,
    clean: Correct,
    clusters: Clusters | None = None,
    clean_clusters: Clusters | None = None,
    *,
    scatter: bool = False,
) -> NDArray[np.float64]:
    """Effective robustness, (draws,), for accuracies that the images, each with their clusters, are compatible with."""
    rng = np.random.default_rng(0)

    def redrawn(correct: Correct, of: Clusters | None) -> NDArray[np.float64]:
        return effect(correct, of).draws(int(correct.sum()), len(correct), rng, _DRAWS)

    own = redrawn(shifted, clusters)
    predicted = _predicted(trend.resampled, redrawn(clean, clean_clusters))
    if scatter:
        predicted = expit(logit(predicted) + trend.spread * rng.standard_t(max(1, trend.models - 2), _DRAWS))
    return own - predicted


def _logits(shares: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(shares, float), _EDGE, 1 - _EDGE)))


def _least_squares(x: NDArray[np.float64], y: NDArray[np.float64]) -> Lines:
    """A line for each row of x and y, shapes (lines, n)."""
    dx, dy = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    slopes = (dx * dy).sum(1) / (dx * dx).sum(1)
    return np.stack([slopes, y.mean(1) - slopes * x.mean(1)], axis=1)


def _predicted(lines: Lines, clean: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(expit(lines[:, 0] * _logits(clean) + lines[:, 1]))
