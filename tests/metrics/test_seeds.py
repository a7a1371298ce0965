"""Outcomes of several seeds: what belongs together, and how well their interval covers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.seeds import image_of, of_first_seed, of_seeds, spread


def outcomes(right, ids):
    right = np.array(right, bool)
    return Outcomes(tuple(ids), np.zeros(len(right), int), (~right).astype(int), right, measures={"m": right * 1.0})


def test_seeds_follow_each_other_over_the_images_that_all_have():
    found = of_seeds([outcomes([1, 0, 1], "abc"), outcomes([0, 0], "ac"), outcomes([1, 1, 1], "abc")])
    assert found.ids == ("a", "c", "a#seed1", "c#seed1", "a#seed2", "c#seed2")
    assert found.correct.tolist() == [1, 1, 0, 0, 1, 1]
    assert found.measures["m"].tolist() == [1, 1, 0, 0, 1, 1]
    assert [image_of(id) for id in found.ids] == ["a", "c"] * 3
    assert of_first_seed(found).ids == ("a", "c")
    assert of_first_seed(found).seeds == 1
    assert image_of("n01/a#seed.png") == "n01/a#seed.png"


def test_what_is_known_of_the_seeds_is_of_all_of_them():
    one, other = (outcomes([1, 0], "ab") for _ in range(2))
    one = replace(one, rivals=np.array([5, 6]), unreadable=("x",), seconds=1.0, notes=("a", "b"))
    other = replace(other, rivals=np.array([7, 8]), unreadable=("x", "y"), fault="cut", seconds=2.0, notes=("b", "c"))
    found = of_seeds([one, other])
    assert found.rivals.tolist() == [5, 6, 7, 8]
    assert found.predictions.tolist() == [0, 1, 0, 1]
    assert found.fault == "cut"
    assert (found.unreadable, found.seconds, found.notes, found.seeds) == (("x", "y"), 3, ("a", "b", "c"), 2)
    assert of_seeds([one, replace(other, rivals=None)]).rivals is None
    assert of_first_seed(one) is one


def test_the_spread_is_that_of_the_accuracies_of_seeds():
    found = of_seeds([outcomes([1, 0, 1, 1], "abcd"), outcomes([0, 0, 1, 0], "abcd"), outcomes([1, 0, 1, 0], "abcd")])
    assert spread(found).value == pytest.approx(0.25)
    assert spread(found).low == pytest.approx(0.25 * (2 / chi2.ppf(0.975, 2)) ** 0.5)
    assert spread(found).high == pytest.approx(0.25 * (2 / chi2.ppf(0.025, 2)) ** 0.5)
    assert spread(outcomes([1], "a")) is None


@pytest.mark.parametrize("alike", [0.3, 3.0])
def test_the_interval_covers_the_accuracy_over_images_and_seeds(alike):
    """Images that are right in a share of their seeds, Beta distributed, with a mean of 70%; taken for independent
    outcomes they cover less where seeds of an image are alike."""
    rng, k, n = np.random.default_rng(0), 3, 200
    clusters = Clusters.of([(str(i % n),) for i in range(k * n)])
    covered = []
    for _ in range(400):
        right = (rng.random((k, n)) < rng.beta(0.7 * alike, 0.3 * alike, n)).ravel()
        covered.append([e.low <= 0.7 <= e.high for e in (accuracy(right, clusters), accuracy(right))])
    held, independent = np.mean(covered, 0)
    assert held >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
    assert independent < 0.93
