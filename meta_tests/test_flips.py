"""Metrics of perturbation sequences, against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metrics.flips import flip_probability, relative_mean, top5_distance

PREDICTIONS = np.array([[1, 1, 2, 2, 1], [3, 3, 3, 3, 3]])


def test_frames_are_compared_with_the_one_before():
    """1 1 2 2 1: changes at the third and the fifth of five frames, two of four comparisons."""
    assert flip_probability(PREDICTIONS, "brightness").tolist() == [0.5, 0.0]


def test_frames_of_noise_are_compared_with_the_first():
    """1 | 1 2 2 1: two of four differ from the first; 1 | 2 1 1 1 has one, where neighbours differ twice."""
    assert flip_probability(PREDICTIONS, "gaussian_noise").tolist() == [0.5, 0.0]
    other = np.array([[1, 2, 1, 1, 1]])
    assert flip_probability(other, "shot_noise").tolist() == [0.25]
    assert flip_probability(other, "snow").tolist() == [0.5]


def test_greater_difficulty_skips_frames():
    """1 1 2 2 1 at step 2: 1-2, 1-2, 2-1 all differ; at step 3: 1-2, 1-1. Noise has its own sets for that."""
    assert flip_probability(PREDICTIONS, "tilt", step=2).tolist() == [1.0, 0.0]
    assert flip_probability(PREDICTIONS, "tilt", step=3).tolist() == [0.5, 0.0]
    assert flip_probability(PREDICTIONS, "gaussian_noise", step=3).tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("second", "distance"),
    [
        ([0, 1, 2, 3, 4], 0),
        ([1, 0, 2, 3, 4], 2),  # two classes move by a place
        ([0, 1, 2, 3, 9], 1),  # the fifth falls to the places after the fifth
        ([9, 0, 1, 2, 3], 5),  # all move down by a place
        ([5, 6, 7, 8, 9], 15),  # 5 + 4 + 3 + 2 + 1
        ([4, 3, 2, 1, 0], 12),  # 4 + 2 + 0 + 2 + 4
    ],
)
def test_top5_distance(second, distance):
    lists = np.array([[[0, 1, 2, 3, 4], second]])
    assert top5_distance(lists, "rotate").tolist() == [distance]


def test_top5_distance_is_a_mean_over_comparisons():
    lists = np.array([[[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 0, 2, 3, 4]]])
    assert top5_distance(lists, "rotate").tolist() == [1.0]
    assert top5_distance(lists, "shot_noise").tolist() == [2.0]
    assert top5_distance(lists, "rotate", step=2).tolist() == [2.0]


def test_relative_means_need_a_figure_of_alexnet_for_each():
    figures = {"snow": 0.10, "tilt": 0.03}
    assert relative_mean(figures, {"snow": 0.2, "tilt": 0.1}) == pytest.approx((0.5 + 0.3) / 2)
    assert relative_mean(figures, {"snow": 0.2}) is None
    assert relative_mean({}, {"snow": 0.2}) is None


def test_a_sequence_of_one_frame_is_an_error():
    with pytest.raises(ValueError, match="1 frames has none to compare"):
        flip_probability(np.zeros((2, 1), int), "snow")


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=st.integers(0, 3)))
def test_flips_are_shares_and_do_not_depend_on_what_classes_are_called(predictions):
    flips = flip_probability(predictions, "scale")
    assert ((flips >= 0) & (flips <= 1)).all()
    assert (flip_probability(np.array([7, 5, 9, 8])[predictions], "scale") == flips).all()
    assert (flips == 0).tolist() == [len(set(row)) == 1 for row in predictions]
