"""When a measured figure agrees with a published one, differs, or leaves it open."""

import numpy as np
import pytest

from clip_robustness.calibration.compare import compared, status_of
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.results.result import Result
from clip_robustness.suites.figures import Figures, Published


def row(value, n=50000, **other):
    given = {"model": "m", "condition": "clean", "metric": "", "on": "imagenet", "tolerance": 0.003, "source": "s"}
    return Published(**given | other, value=value, n=n)


def status(rows, right, n, among=1):
    found = accuracy(np.arange(n) < right)
    return status_of(rows, found.value, (found.low, found.high), n, among)[0]


@pytest.mark.parametrize(
    ("right", "expected"), [(31510, "agrees"), (31490, "differs"), (31810, "agrees"), (31830, "differs")]
)
def test_on_all_images_the_tolerance_alone_counts(right, expected):
    assert status([row(0.6332)], right, 50000) == expected


def test_a_figure_between_two_sources_agrees():
    assert status([row(0.4141), row(0.4028)], 20400, 50000) == "agrees"


def test_what_a_sample_can_tell_depends_on_its_size():
    assert status([row(0.6332)], 61, 100) == "can't tell"
    assert status([row(0.6332)], 10, 100) == "differs"
    assert status([row(0.6332)], 3140, 5000) == "agrees"
    assert status([row(0.6332)], 3000, 5000) == "differs"


def test_the_more_figures_are_compared_the_more_one_may_differ_by_chance():
    assert status([row(0.6332)], 3085, 5000) == "differs"
    assert status([row(0.6332)], 3085, 5000, among=20) == "agrees"


def test_one_in_twenty_right_set_ups_differs_at_most():
    rng = np.random.default_rng(0)
    drawn = rng.hypergeometric(31660, 50000 - 31660, 5000, size=(400, 5))
    wrong = sum(any(status([row(0.6332, tolerance=0.0)], k, 5000, among=5) == "differs" for k in run) for run in drawn)
    assert wrong <= 0.05 * 400 + 3 * np.sqrt(400 * 0.05 * 0.95)


def cell(condition, n, correct, model="mine", **other):
    found = accuracy(np.arange(n) < correct)
    return Result(
        "natural", condition, {}, model, "candidate", "pass", "", n=n, correct=correct, accuracy=found.value,
        ci95=(found.low, found.high), **other,
    )  # fmt: skip


def test_cells_are_compared_with_the_figures_of_what_they_are_of():
    figures = Figures((row(0.5, 100, condition="imagenet-r"), row(0.9, 100, condition="imagenet-r", on="cifar10")))
    found = compared(figures, {"mine": "m"}, [cell("imagenet-r", 100, 50), cell("imagenet-a", 100, 50)], {"imagenet"})
    assert [(c.condition, c.published, c.status) for c in found] == [("imagenet-r", 0.5, "agrees")]
    assert not compared(figures, {"other": "m"}, [cell("imagenet-r", 100, 50)], {"imagenet"})
    (wrong,) = compared(figures, {"mine": "m"}, [cell("imagenet-r", 100, 60)], {"imagenet"})
    assert wrong.status == "differs"


def test_a_sample_of_a_set_with_uneven_classes_is_not_compared_for_agreement():
    figures = Figures((row(0.5, 100_000, condition="imagenet-r"),))
    (found,) = compared(figures, {"mine": "m"}, [cell("imagenet-r", 20_000, 10_000)], {"imagenet"})
    assert (found.status, "as many images of each class" in found.reason) == ("can't tell", True)


def test_the_anchors_of_a_video_set_are_compared_by_themselves():
    figures = Figures((row(0.8, 100, condition="imagenet-vid-robust", metric="pm0"),))
    shown = cell("imagenet-vid-robust", 100, 60, metrics={"pm0": 0.8, "pm0_ci95_low": 0.7, "pm0_ci95_high": 0.87})
    assert [(c.condition, c.value, c.status) for c in compared(figures, {"mine": "m"}, [shown], {"imagenet"})] == [
        ("imagenet-vid-robust pm-0", 0.8, "agrees")
    ]
