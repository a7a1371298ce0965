"""A cell whose images belong together: its figures, and what its verdict can stand on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_robustness.conditions.condition import CLEAN, natural
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import accuracy, paired_difference, unpaired_difference
from clip_robustness.results import history
from clip_robustness.results.results import Results
from clip_robustness.verdicts.measure import measure
from tests.evaluation.test_session import session_of, write

VIDEOS, FRAMES = 40, 5
SUITE = """
candidate = ["python:tests.evaluation.test_session:brightest"]
supervised = ["python:tests.evaluation.test_session:brightest"]
[data]
imagenet = "val"
night = "dark"
{more}
[conditions]
natural = ["night"]
[[rules]]
match = "*"
{limits}
"""
BY_VIDEO = '[clusters]\nimagenet = "regex:/(v[0-9]+)_"\nnight = "regex:/(v[0-9]+)_"'
RIGHT = np.repeat(np.arange(VIDEOS) % 4 > 0, FRAMES)
OF_VIDEOS = Clusters.of([(str(video),) for video in np.repeat(np.arange(VIDEOS), FRAMES)])


@pytest.fixture
def row(tmp_path):
    """Of 40 videos of five frames three in four are right; at night half of them."""
    for video in range(VIDEOS):
        for i in range(FRAMES):
            write(tmp_path / "val", 6, 6 if video % 4 else 7, f"v{video:02d}_{i}")
            write(tmp_path / "dark", 6, 6 if video % 2 else 7, f"v{video:02d}_{i}")

    def measured(condition, more=BY_VIDEO, before=None, **limits):
        rules = "".join(f"{name} = {value}\n" for name, value in limits.items())
        session = session_of(tmp_path, SUITE.format(more=more, limits=rules))
        cell = Cell(session.settings.candidates[0], condition)
        if before is not None:
            right = replace(session.correct(cell), correct=before)
            found = Results("s", {"seed": 0, "classes": "imagenet"}, [], [])
            known = {(right.model, right.condition): right}
            vars(session)["before"] = history.Run("one", "", Path(), found, known, held=True)
            session.settings = replace(session.settings, compare="one")
        return measure(session, cell, "test")[0]

    return measured


def ends(estimate):
    return pytest.approx((estimate.low, estimate.high))


def test_an_accuracy_says_how_many_independent_images_it_stands_on(row):
    cell = row(CLEAN, min_accuracy=0.5)
    assert (cell.n, cell.n_clusters) == (200, 40)
    assert cell.design_effect == pytest.approx(5, rel=0.05)
    assert cell.n_effective == pytest.approx(40, rel=0.05)
    assert cell.ci95 == ends(accuracy(RIGHT, OF_VIDEOS))
    assert cell.checks[0].ci95 == cell.ci95
    alone = row(CLEAN, more="", min_accuracy=0.5)
    assert (alone.n_clusters, alone.design_effect, alone.n_effective) == (0, 1, 200)
    assert alone.ci95 == ends(accuracy(RIGHT))


def test_what_is_certain_of_as_many_independent_images_is_not_of_clusters(row):
    assert row(CLEAN, more="", min_accuracy=0.66).verdict == "pass"
    assert row(CLEAN, min_accuracy=0.66).verdict == "inconclusive"
    assert row(CLEAN, more="", min_accuracy=0.84).verdict == "fail"
    assert row(CLEAN, min_accuracy=0.84).verdict == "inconclusive"
    assert row(CLEAN, min_accuracy=0.5).verdict == "pass"


def test_fewer_than_thirty_clusters_decide_nothing(row):
    of_twenty = '[clusters]\nimagenet = "regex:/(v[0-3])"'
    cell = row(CLEAN, more=of_twenty, min_accuracy=0.1)
    assert cell.verdict == "inconclusive"
    assert "the images are of 4 clusters, fewer than the 30 that a verdict needs" in cell.reason
    assert cell.checks[0].more_images is None
    assert row(CLEAN, more=of_twenty, min_accuracy=0.99).verdict == "inconclusive"


def test_what_stands_on_too_few_images_for_what_shall_be_seen_says_so(row):
    detect = "[gate]\ndetect = 0.11"
    assert not [w for w in row(CLEAN, more=detect, min_accuracy=0.5).warnings if "detect" in w]
    *_, said = row(CLEAN, more=f"{BY_VIDEO}\n{detect}", min_accuracy=0.5).warnings
    assert said.startswith("min_accuracy: as many images as 39 independent ones show 22.4")
    assert said.endswith(" points beyond it, not the 11 of [gate] detect")


def test_differences_to_baselines_clean_images_and_recorded_runs_are_those_of_clusters(row):
    before = np.repeat(np.arange(VIDEOS) % 8 > 0, FRAMES)
    cell = row(CLEAN, before=before, max_regression=0.3, max_drop_vs_supervised=0.3)
    same, regression = paired_difference(RIGHT, RIGHT, OF_VIDEOS), paired_difference(RIGHT, before, OF_VIDEOS)
    assert cell.difference.ci95 == ends(same)
    assert cell.regression.difference.ci95 == ends(regression)
    assert [check.ci95 for check in cell.checks] == [ends(same), ends(regression)]
    dark = np.repeat(np.arange(VIDEOS) % 2 > 0, FRAMES)
    (check,) = row(natural("night"), max_drop_vs_clean=0.5).checks
    assert check.ci95 == ends(unpaired_difference(dark, RIGHT, OF_VIDEOS, OF_VIDEOS))
