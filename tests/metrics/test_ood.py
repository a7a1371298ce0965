"""Images of no class: which are rejected, and the AUROC."""

import numpy as np
import pytest

from clip_robustness.metrics.ood import rejected
from clip_robustness.metrics.outcomes import Outcomes


def outcomes(confidence):
    n = len(confidence)
    labels = np.zeros(n, int)
    measures = {"confidence": np.array(confidence, float)}
    return Outcomes(tuple(map(str, range(n))), labels, labels + 1, labels > 0, measures=measures)


def test_the_threshold_keeps_95_percent_of_the_clean_images():
    clean = np.arange(1, 101) / 100
    assert rejected(outcomes([0.01, 0.049, 0.05, 0.06]), clean).correct.tolist() == [True, True, False, False]


def test_the_auroc_by_hand():
    """Of 2 x 4 pairs the clean image is surer in five, and as sure in one."""
    found = rejected(outcomes([0.5, 0.8]), np.array([0.4, 0.6, 0.8, 0.9]))
    assert found.measures["placed"].tolist() == [0.75, 0.375]
    assert found.measures["placed"].mean() == pytest.approx(4.5 / 8)


def test_nothing_is_taken_for_a_mistake_between_classes():
    found = rejected(outcomes([0.5]), np.array([0.4, 0.6]))
    assert found.predictions.tolist() == found.labels.tolist()
