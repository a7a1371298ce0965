"""The supervised trend and effective robustness: on a line known beforehand, and against published facts."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from clip_robustness.conditions.benchmark import NATURAL
from clip_robustness.metrics import evidence
from clip_robustness.metrics.trend import Trend, effective_robustness, far_below, fit, published

CLEAN = np.linspace(0.4, 0.9, 60)


def correct(right, n):
    return np.arange(n) < right


def test_a_line_in_logit_space_is_found_again():
    trend = fit(CLEAN, expit(0.9 * logit(CLEAN) - 0.5))
    assert trend.line[0] == pytest.approx([0.9, -0.5])
    assert trend.r2 == pytest.approx(1)
    assert trend(0.7) == pytest.approx(expit(0.9 * logit(0.7) - 0.5))
    assert trend.band(0.7) == pytest.approx((trend(0.7), trend(0.7)))


def test_a_line_by_hand():
    """Logits (-1, 0), (0, 1), (1, -1): slope -1/2, no intercept, residuals -1/2, 1, -1/2; twenty each."""
    trend = fit(expit([-1, 0, 1] * 20), expit([0, 1, -1] * 20))
    assert trend.line[0] == pytest.approx([-0.5, 0])
    assert trend.spread == pytest.approx(np.sqrt(30 / 58))
    assert trend.r2 == pytest.approx(1 - 1.5 / 2)
    assert (trend.models, trend.resampled.shape) == (60, (5000, 2))
    assert trend.lowest(0.5) == pytest.approx(expit(-4 * np.sqrt(30 / 58)))
    assert trend(0) == pytest.approx(expit(-0.5 * logit(1e-4)))
    low, high = np.quantile(expit(trend.resampled @ [logit(0.6), 1]), (0.025, 0.975))
    assert trend.band(0.6) == pytest.approx((low, high))


def test_a_single_model_scatters_by_students_distribution():
    """About a line that is known, with as many images that nothing else is open: by 0.2 logits with 6 - 2 models."""
    trend = Trend(np.array([[1.0, 0]]), 1.0, 6, np.tile([1.0, 0], (5000, 1)), 0.2)
    images = correct(500_000, 1_000_000)
    found = effective_robustness(trend, images, images, scatter=True)
    assert found.value == pytest.approx(0)
    reach = expit(0.2 * t.ppf(0.975, 4)) - 0.5
    assert (found.low, found.high) == pytest.approx((-reach, reach), rel=0.1)


@pytest.mark.parametrize(("shifted", "far"), [(0.39, True), (0.41, False)])
def test_far_below_is_four_deviations_and_ten_points(shifted, far):
    """A clean accuracy of a half on the identity: by 0.05 logits four deviations are 5 points; by 0.2 they are 19."""
    for spread, limit in ((0.05, 0.0), (0.2, 0.09)):
        trend = Trend(np.array([[1.0, 0]]), 1.0, 60, np.array([[1.0, 0]]), spread)
        right = round((shifted - limit) * 1_000_000)
        assert far_below(trend, correct(right, 1_000_000), correct(500_000, 1_000_000)) == far


def test_three_models_make_a_trend():
    """A ninth of the draws of three is one model alone, through which no line goes."""
    trend = fit([0.5, 0.6, 0.7], [0.3, 0.45, 0.5])
    assert np.isfinite(trend.resampled).all()
    assert len(trend.resampled) == 5000
    through = {tuple(np.round(line, 6)) for line in trend.resampled}
    assert len(through) == 4  # the three of two models, whichever is drawn twice, and that of all
    found = effective_robustness(trend, correct(400, 1000), correct(600, 1000))
    assert found.low < found.value < found.high
    tail = evidence.effective_robustness(trend, correct(400, 1000), correct(600, 1000), -0.2)
    assert tail.p_violation + tail.p_compliance == pytest.approx(1, abs=0.001)


def test_models_that_all_fall_to_the_same_accuracy_are_on_a_line():
    trend = fit([0.5, 0.6, 0.7], [0.5, 0.5, 0.5])
    assert (trend(0.65), trend.r2) == pytest.approx((0.5, 1))


def test_models_of_one_clean_accuracy_have_no_trend():
    with pytest.raises(ValueError, match="of other clean accuracies"):
        fit([0.5, 0.5, 0.5], [0.3, 0.4, 0.5])


def test_the_band_holds_the_true_line_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = expit(0.9 * logit(0.7) - 0.5)
    held = 0
    for _ in range(100):
        low, high = fit(CLEAN, expit(0.9 * logit(CLEAN) - 0.5 + rng.normal(0, 0.2, len(CLEAN)))).band(0.7)
        held += low <= truth <= high
    assert 87 <= held <= 100


def test_effective_robustness_by_hand():
    """On the identity line a model with 80% clean and 60% shifted is 20 points below it."""
    trend = fit(CLEAN, CLEAN)
    estimate = effective_robustness(trend, correct(600, 1000), correct(800, 1000))
    assert estimate.value == pytest.approx(-0.2)
    spread = 1.96 * np.sqrt(0.6 * 0.4 / 1000 + 0.8 * 0.2 / 1000)
    assert (estimate.low, estimate.high) == pytest.approx((-0.2 - spread, -0.2 + spread), abs=0.005)


def test_shares_of_zero_and_one_have_a_prediction():
    trend = fit([0.0, *CLEAN, 1.0], [0.0, *CLEAN, 1.0])
    assert np.isfinite([trend(0), trend(1), *trend.band(1)]).all()


@pytest.mark.parametrize(
    ("shift", "models", "r2"),
    [
        ("imagenet-v2", 1036, 0.98),  # the line that Taori et al. found to be nearly exact
        ("objectnet", 85, 0.95),
        ("imagenet-vid-robust", 85, 0.95),
        ("ytbb-robust", 84, 0.9),
        ("imagenet-a", 1035, 0.9),
        ("imagenet-sketch", 1036, 0.85),
        ("imagenet-r", 1036, 0.85),
    ],
)
def test_the_published_trends_are_straight_in_logit_space(shift, models, r2):
    trend = published(shift)
    assert trend.models == models
    assert trend.r2 > r2
    assert trend.line[0, 0] > 0


def test_every_natural_shift_has_a_trend_and_nothing_else_has():
    assert [shift for shift in NATURAL if published(shift) is None] == ["objectnet-all-names"]
    assert published("imagenet") is None


@pytest.mark.parametrize(
    ("shift", "clean", "shifted", "at_least"),
    [
        # CLIP ViT-B/32 of OpenAI, zero-shot: open_clip's table, clean accuracies on subsets from imagenet-testbed
        ("imagenet-v2", 0.6332, 0.5592, 0.03),
        ("imagenet-sketch", 0.6332, 0.4229, 0.2),
        ("imagenet-r", 0.8810, 0.6933, 0.3),
        ("imagenet-a", 0.8742, 0.3155, 0.2),
        ("objectnet", 0.7093, 0.4431, 0.15),
        ("imagenet-vid-robust", 0.97687, 0.66005, 0.1),
        ("ytbb-robust", 0.98406, 0.54384, 0.05),
    ],
)
def test_zero_shot_clip_is_above_the_supervised_trend(shift, clean, shifted, at_least):
    assert shifted - published(shift)(clean) > at_least


@pytest.mark.parametrize(
    ("shift", "clean", "shifted"),
    [
        # a supervised ResNet-50 of torchvision, from imagenet-testbed
        ("imagenet-v2", 0.7613, 0.6333),
        ("imagenet-sketch", 0.7613, 0.2409),
        ("imagenet-r", 0.9212, 0.3617),
        ("objectnet", 0.7886, 0.3575),
        ("imagenet-vid-robust", 0.98541, 0.52479),
        ("ytbb-robust", 0.98606, 0.43842),
    ],
)
def test_a_supervised_model_is_on_it(shift, clean, shifted):
    assert abs(shifted - published(shift)(clean)) < 0.05
