"""The calibration error by hand, and its interval."""

import numpy as np
import pytest
from scipy.stats import t

from clip_robustness.metrics.calibration import calibration_error


def test_by_hand():
    """Ten at 0.95, of which eight are right, and ten at 0.5, of which seven are: (0.15 + 0.2) / 2."""
    confidence = np.repeat([0.95, 0.5], 10)
    correct = np.r_[np.arange(10) < 8, np.arange(10) < 7]
    assert calibration_error(confidence, correct).value == pytest.approx(0.175)


def test_bins_are_fifteen_of_equal_width_and_each_has_a_side_of_its_own():
    """0.39 and 6/15 are on both sides of an edge, too sure by 0.29 and not sure enough by 0.5."""
    confidence = np.repeat([0.05, 6 / 15, 0.39, 1.0], 10)
    correct = np.r_[np.zeros(10), np.arange(10) < 9, np.arange(10) < 1, np.arange(10) < 6] > 0
    assert calibration_error(confidence, correct).value == pytest.approx((0.05 + 0.5 + 0.29 + 0.4) / 4)
    last = np.repeat([0.95, 1.0], 10)  # ten times 0.05 not sure enough, and once too sure
    assert calibration_error(last, np.arange(20) < 19).value == pytest.approx(0.5 / 20)
    both = np.repeat([6 / 15 + 0.01, 7 / 15 - 0.01], 10)  # of one bin, so that 0.5 and 0.3 make up for each other
    assert calibration_error(both, np.arange(20) < 9).value == pytest.approx(abs(20 * 13 / 30 - 9) / 20)


def test_the_interval_is_that_of_the_mean_of_what_is_on_the_side_of_its_bin():
    rng = np.random.default_rng(0)
    confidence = rng.random(300)
    correct = rng.random(300) < confidence**2
    found = calibration_error(confidence, correct)
    signed = np.zeros(300)
    for b in range(15):
        own = (confidence >= b / 15) & (confidence < (b + 1) / 15)
        gap = confidence[own] - correct[own]
        signed[own] = gap * np.sign(gap.sum())
    reach = t.ppf(0.975, 299) * signed.std(ddof=1) / np.sqrt(300)
    assert (found.value, found.low, found.high) == pytest.approx(
        (signed.mean(), signed.mean() - reach, signed.mean() + reach)
    )
    assert calibration_error(np.r_[0.5, 0.52], np.array([True, False])).low == 0


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
