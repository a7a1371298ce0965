import numpy as np
import pytest

from clip_robustness.conditions.benchmark import CORRUPTIONS_OF_MCE
from clip_robustness.metrics.corruption import (
    ALEXNET_CLEAN_ERROR,
    alexnet_errors,
    mce,
    mean_top1,
    relative_mce,
    severity_curve,
)
from clip_robustness.metrics.intervals import Estimate, mean
from clip_robustness.models import InputError


def errors(value):
    return {name: np.full(5, value) for name in CORRUPTIONS_OF_MCE}


def test_alexnet_is_the_unit():
    alexnet = alexnet_errors()
    assert tuple(alexnet) == CORRUPTIONS_OF_MCE
    assert mce(alexnet) == pytest.approx(1)
    assert relative_mce(alexnet, ALEXNET_CLEAN_ERROR) == pytest.approx(1)
    assert mean_top1(alexnet) == pytest.approx(1 - 0.788993, abs=1e-6)  # the published means, averaged
    assert alexnet["gaussian_noise"].mean() == pytest.approx(0.886428)
    assert alexnet["jpeg_compression"].mean() == pytest.approx(0.606500)


def test_ratio_of_sums_over_severities():
    """Brightness: AlexNet's errors are 0.4514, 0.48502, 0.54048, 0.62166, 0.7244, in sum 2.82296.

    Errors of 0.1, 0.2, 0.3, 0.4, 0.5 are 1.5 / 2.82296 = 0.531357 of that; the mean of the ratios would be 0.500936.
    All others as AlexNet: (14 + 0.531357) / 15.
    """
    found = mce(dict(alexnet_errors()) | {"brightness": np.array([0.1, 0.2, 0.3, 0.4, 0.5])})
    assert found == pytest.approx((14 + 0.531357) / 15, abs=1e-6)


def test_relative_mce_by_hand():
    """Clean error 0.2, brightness in sum 1.5: (1.5 - 5 x 0.2) / (2.82296 - 5 x 0.435) = 0.5 / 0.64796 = 0.771653.

    The others lose nothing: 0.771653 / 15.
    """
    found = relative_mce(errors(0.2) | {"brightness": np.array([0.1, 0.2, 0.3, 0.4, 0.5])}, 0.2)
    assert found == pytest.approx(0.771653 / 15, abs=1e-6)


def test_severity_curve_by_hand():
    """Fourteen corruptions at 0.3 throughout, one that rises from 0 to 0.6: 0.7 + 0.02, ..., 0.7 - 0.02."""
    rising = errors(0.3) | {"fog": np.array([0.0, 0.15, 0.3, 0.45, 0.6])}
    assert severity_curve(rising) == pytest.approx([0.72, 0.71, 0.7, 0.69, 0.68])


def test_extra_corruptions_are_not_counted():
    with_extra = errors(0.3) | {"saturate": np.ones(5)}
    assert mce(with_extra) == mce(errors(0.3))
    assert mean_top1(with_extra) == pytest.approx(0.7)


def test_per_image_scores_average_to_the_figure_of_the_set():
    rng = np.random.default_rng(0)
    wrong = {name: (rng.random((5, 40)) < 0.4).astype(float) for name in CORRUPTIONS_OF_MCE}
    clean = (rng.random(40) < 0.2).astype(float)
    shares = {name: w.mean(axis=1) for name, w in wrong.items()}
    assert mce(wrong).mean() == pytest.approx(mce(shares))
    assert mean_top1(wrong).mean() == pytest.approx(mean_top1(shares))
    assert relative_mce(wrong, clean).mean() == pytest.approx(relative_mce(shares, clean.mean()))


def test_the_interval_of_a_mean_by_hand():
    """1 to 5: standard error sqrt(2.5 / 5), Student's t with four degrees of freedom 2.7764."""
    estimate = mean(np.arange(1.0, 6.0))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3, 3 - 1.96324, 3 + 1.96324), abs=1e-4)
    assert mean(np.ones(3)) == Estimate(1, 1, 1)


def test_the_interval_covers_the_truth():
    """Images are easy or hard throughout: only an interval over images, not over cells, covers at the stated rate."""
    rng, covered = np.random.default_rng(0), 0
    truth = mce(errors(0.4))
    for _ in range(300):
        hard = rng.random(100) < 0.4
        estimate = mean(mce({name: np.tile(hard, (5, 1)).astype(float) for name in CORRUPTIONS_OF_MCE}))
        covered += estimate.low <= truth <= estimate.high
    assert 0.91 < covered / 300 < 0.98


def test_a_part_is_refused():
    part = errors(0.3)
    del part["fog"], part["snow"]
    with pytest.raises(InputError, match="needs all 15; there is no snow, fog"):
        mce(part)
    with pytest.raises(InputError, match="5 severities; frost has 3"):
        mean_top1(errors(0.3) | {"frost": np.ones(3)})
