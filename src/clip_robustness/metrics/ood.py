"""Images of no class: whether they are told from those of a class by how sure a model is (Hendrycks & Gimpel 2017)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clip_robustness.metrics.outcomes import Outcomes

_KEPT = 0.95
"""Of the clean images."""


def rejected(outcomes: Outcomes, clean: NDArray[np.float64]) -> Outcomes:
    """An image counts as right where the model is less sure of it than of 95% of the clean images, whose confidences
    are (n,): the accuracy is 1 - FPR95. The measure `placed` is the share of clean images that it is surer of, equal
    ones half: its mean is the AUROC."""
    confidence, ordered = outcomes.measures["confidence"], np.sort(clean)
    threshold = float(np.quantile(ordered, 1 - _KEPT, method="lower"))
    below, upto = (np.searchsorted(ordered, confidence, side) for side in ("left", "right"))
    placed = 1 - (below + upto) / 2 / len(ordered)
    measures = {"placed": placed}
    return replace(outcomes, predictions=outcomes.labels, correct=confidence < threshold, measures=measures)
