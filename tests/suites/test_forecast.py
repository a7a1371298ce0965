"""What is said of the power of a suite's images before it runs."""

import math
from pathlib import Path

import pytest

from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.errors import InputError
from clip_robustness.metrics import power
from clip_robustness.suites import load
from clip_robustness.suites.forecast import Asked, forecast, sized, too_few
from clip_robustness.suites.rules import Limit, Rule
from clip_robustness.suites.schema import Gate

SUITE = """
classes = "mini"
samples = 3000
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
imagenet-a = "mini:imagenet-a"
rta-100 = "mini:rta-100"
cue-conflict = "mini:cue-conflict"
{more}
[conditions]
natural = ["imagenet-v2", "imagenet-a"]
stylized = {{ names = ["cue-conflict"] }}
attacks = [{{ names = ["bim"], eps = ["8/255"], samples = 500 }}, {{ names = ["rta-100"] }}]
overlap = "mini:pretraining"
[gate]
detect = 0.05
[[rules]]
match = "*"
max_drop_vs_clean = 0.05
[[rules]]
match = "natural/imagenet-a"
min_accuracy = 0.9
"""


def asked(n, cluster_of=lambda i: "", **limits):
    rule = Rule(match="*", **limits)
    samples = tuple(Sample(str(i), Path(str(i)), 0, clusters=(cluster_of(i) or str(i),)) for i in range(n))
    return [Asked(Limit(name, rule), Dataset("d", samples)) for name in limits]


@pytest.mark.parametrize(
    ("limits", "deviation"), [({"min_accuracy": 0.9}, 0.3), ({"max_drop_vs_supervised": 0.05}, 0.2**0.5)]
)
def test_a_limit_says_what_so_many_images_show_of_it(limits, deviation):
    _, line = forecast(asked(400, **limits), Gate())
    assert f"400 images (1 cell): {100 * power.detectable(400, deviation, 0.025):.1f} points beyond it" in line


def test_images_that_show_no_drop_at_all():
    _, line = forecast(asked(1, max_drop_vs_clean=0.05), Gate())
    assert line.startswith("max_drop_vs_clean 0.05, 1 image (1 cell): nothing; 5 points beyond it need ")


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
    assert "9 images (1 cell)" in one
    assert last == "not forecast: max_flip_rate (1 cell)"
    assert not [*forecast([flips, not_run], Gate())]


@pytest.fixture
def sizes(toml):
    def chosen(more=""):
        suite = load(toml(SUITE.format(more=more)))
        return {c.id: c.samples for c in sized(suite, suite.deciding, 2).conditions}

    return chosen


def test_as_many_images_as_show_what_shall_be_seen(sizes):
    """Clean images, which others are compared with, and clusters of an unknown design effect stay as they are."""
    total = 2 * (1 + 2 + 1 + 1 + 1 + 1 + 2)
    exact = power.needed(0.05, 0.2**0.5, 0.025 / total)
    n = math.ceil(exact)
    assert 1000 < n < 3000
    found = sizes()
    assert (found["imagenet-v2"], found["overlap-imagenet-v2"], found["imagenet-a"]) == (n, n, n)
    assert found["bim-8/255"] == 500
    assert {found[c] for c in ("clean", "clean-imagenet-a-classes", "cue-conflict", "rta-100")} == {None}
    assert sizes("[design_effects]\ncue-conflict = 2.5")["cue-conflict"] == math.ceil(2.5 * exact)


def test_a_design_effect_is_declared_of_a_data_set(sizes):
    with pytest.raises(InputError, match="design_effects of 'cue': there is no such data set"):
        sizes("[design_effects]\ncue = 2")


def test_what_cannot_reach_it_says_so():
    (each,) = asked(400, max_drop_vs_clean=0.01)
    gate = Gate(detect=0.05)
    n = math.ceil(power.needed(0.05, 0.2**0.5, 0.025))
    assert f"; 5 points beyond it need {n} images, as [gate] detect asks for" in [*forecast([each], gate)][1]
    assert not too_few(each.limit, n, 1, gate)
    assert not too_few(each.limit, 9, 1, Gate())
    said = too_few(each.limit, 100, 1, gate)
    assert said.endswith("100 independent ones show 12.5 points beyond it, not the 5 of [gate] detect")
