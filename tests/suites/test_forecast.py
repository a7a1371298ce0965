"""What is said of the power of a suite's images before it runs."""

import math
from pathlib import Path

import pytest

from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.metrics import power
from clip_robustness.suites.forecast import Asked, forecast
from clip_robustness.suites.rules import Limit, Rule
from clip_robustness.suites.schema import Gate


def asked(n, cluster_of=lambda i: "", **limits):
    rule = Rule(match="*", **limits)
    samples = tuple(Sample(str(i), Path(str(i)), 0, clusters=(cluster_of(i) or str(i),)) for i in range(n))
    return [Asked(Limit(name, rule), Dataset("d", samples)) for name in limits]


@pytest.mark.parametrize(
    ("limits", "deviation"), [({"min_accuracy": 0.9}, 0.3), ({"max_drop_vs_supervised": 0.05}, 0.2**0.5)]
)
def test_a_limit_says_what_so_many_images_show_of_it(limits, deviation):
    _, line = forecast(asked(400, **limits), Gate())
    assert f"400 images (1 cells): {100 * power.detectable(400, deviation, 0.025):.1f} points beyond it" in line


@pytest.mark.parametrize("limits", [1, 10])
def test_all_limits_share_alpha(limits):
    _, line = forecast(asked(400, max_drop_vs_clean=0.05) * limits, Gate())
    assert f"need {math.ceil(power.needed(0.05, 0.2**0.5, 0.025 / limits))} images" in line


def test_images_that_belong_together_count_as_one():
    clustered = asked(400, lambda i: f"v{i // 4}", max_drop_vs_clean=0.05)
    _, line = forecast(clustered, Gate())
    assert "clusters count as 100 images" in line
    assert f"need {math.ceil(4 * power.needed(0.05, 0.2**0.5, 0.025))} images" in line


def test_what_is_not_foreseen_is_said_and_what_is_not_run_left_out():
    flips = Asked(Limit("max_flip_rate", Rule(match="*", max_flip_rate=0.1)), None)
    not_run = Asked(Limit("min_accuracy", Rule(match="*", min_accuracy=0.5)), None)
    _, one, last = forecast([flips, *asked(9, min_accuracy=0.5), not_run], Gate())
    assert "9 images (1 cells)" in one
    assert last == "not forecast: max_flip_rate (1 cells)"
    assert not [*forecast([flips, not_run], Gate())]
