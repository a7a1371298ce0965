"""Whether predictions are as often right as they are sure (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import Correct, Estimate, mean

BINS = 15


def calibration_error(confidence: NDArray[np.float64], correct: Correct, clusters: Clusters | None = None) -> Estimate:
    """Expected calibration error: over fifteen bins of equal width the mean distance between confidence and accuracy,
    weighted by images. Both (n,), n > 1.

    With the side that each bin is on it is a mean over images, whose t interval is given. Which side that is, is chosen
    on the same images: of a model that is well calibrated, or of few images, it is too large.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    beyond = confidence - correct
    side = np.sign(np.bincount(bins, beyond, BINS))
    found = mean(side[bins] * beyond, clusters)
    return Estimate(found.value, max(0.0, found.low), found.high)
