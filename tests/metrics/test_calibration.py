"""The calibration error by hand, and its interval."""

import numpy as np
import pytest

from clip_robustness.metrics.calibration import calibration_error


def test_by_hand():
    """Ten at 0.95, of which eight are right, and ten at 0.5, of which seven are: (0.15 + 0.2) / 2."""
    confidence = np.repeat([0.95, 0.5], 10)
    correct = np.r_[np.arange(10) < 8, np.arange(10) < 7]
    assert calibration_error(confidence, correct).value == pytest.approx(0.175)


def test_certainty_that_is_right_is_no_error():
    found = calibration_error(np.ones(50), np.ones(50, bool))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_interval_covers_the_truth():
    """Always 0.9 sure and right in 70%: the error is 0.2."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        found = calibration_error(np.full(200, 0.9), rng.random(200) < 0.7)
        covered += found.low <= 0.2 <= found.high
    assert 0.91 < covered / 300 < 0.98
