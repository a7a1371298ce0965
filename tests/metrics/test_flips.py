import numpy as np
import pytest

from clip_robustness.metrics.flips import (
    PERTURBATIONS,
    flip_probabilities,
    mean_over_perturbations,
    relative_to_alexnet,
    top5_distances,
)
from clip_robustness.models import InputError


def test_flips_by_hand():
    """1 1 2 2 1: changes at the second and the fourth of four steps. Against the first frame: two of four differ."""
    one = np.array([[1, 1, 2, 2, 1]])
    assert flip_probabilities(one, noise=False).tolist() == [0.5]
    assert flip_probabilities(one, noise=True).tolist() == [0.5]
    # 1 2 1 2 3: all four steps change; against the first, all but the third frame. Each sequence has its own figure.
    both = np.concatenate([one, [[1, 2, 1, 2, 3]]])
    assert flip_probabilities(both, noise=False).tolist() == [0.5, 1]
    assert flip_probabilities(both, noise=True).tolist() == [0.5, 0.75]


def test_difficulty_steps_by_hand():
    """1 2 1 2 3, two frames apart: 1-1, 2-2, 1-3; three apart: 1-2, 2-3. Noise knows no steps."""
    one = np.array([[1, 2, 1, 2, 3]])
    assert flip_probabilities(one, noise=False, step=2) == pytest.approx(1 / 3)
    assert flip_probabilities(one, noise=False, step=3).tolist() == [1]
    assert flip_probabilities(one, noise=True, step=3).tolist() == [0.75]


@pytest.mark.parametrize(
    ("after", "distance"),
    [
        ([7, 3, 9, 1, 5], 0),
        ([3, 7, 9, 1, 5], 2),  # two neighbours swap: 1 + 1
        ([5, 3, 9, 1, 7], 8),  # first and last swap: 4 + 4
        ([7, 3, 9, 1, 8], 1),  # the last leaves, to the sixth place
        ([8, 7, 3, 9, 1], 5),  # a new one at the top: all five move by one
        ([0, 2, 4, 6, 8], 15),  # 5 + 4 + 3 + 2 + 1
        ([1, 5, 0, 2, 4], 18),  # the most: 5 + 4 + 3, and the last two rise by 3 each
    ],
)
def test_top5_distance_by_hand(after, distance):
    assert top5_distances(np.array([[[7, 3, 9, 1, 5], after]]), noise=False).tolist() == [distance]


def test_top5_distance_over_frames_by_hand():
    """From the first frame to the second 2, to the third 0; from the second to the third 2."""
    frames = np.array([[[7, 3, 9, 1, 5], [3, 7, 9, 1, 5], [7, 3, 9, 1, 5]]])
    assert top5_distances(frames, noise=False).tolist() == [2]
    assert top5_distances(frames, noise=True).tolist() == [1]
    assert top5_distances(frames, noise=False, step=2).tolist() == [0]


def test_top5_distance_is_the_double_sum_of_the_paper():
    """Sum over i of 1 to 5 and over j from min(i, rank) + 1 to max(i, rank) of [1 <= j - 1 <= 5]."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        before, after = rng.permutation(12), rng.permutation(12)
        ranks = [int(np.flatnonzero(after == c)[0]) + 1 for c in before[:5]]
        expected = sum(
            1 <= j - 1 <= 5 for i, rank in enumerate(ranks, 1) for j in range(min(i, rank) + 1, max(i, rank) + 1)
        )
        assert top5_distances(np.array([[before[:5], after[:5]]]), noise=False).tolist() == [expected]


def test_means_by_hand():
    values = dict.fromkeys(PERTURBATIONS, 0.1) | {"tilt": 0.3}
    assert mean_over_perturbations(values) == pytest.approx(0.12)
    alexnet = dict.fromkeys(PERTURBATIONS, 0.2) | {"tilt": 0.1}
    assert relative_to_alexnet(values, alexnet) == pytest.approx((9 * 0.5 + 3) / 10)


def test_a_part_is_refused():
    with pytest.raises(InputError, match="needs all 10; there is no snow"):
        mean_over_perturbations({name: 0.1 for name in PERTURBATIONS if name != "snow"})


@pytest.mark.parametrize(("frames", "step"), [(1, 1), (2, 2), (0, 1)])
def test_a_sequence_without_pairs_is_refused(frames, step):
    with pytest.raises(InputError, match=f"a sequence of {frames} frames has none to compare"):
        flip_probabilities(np.zeros((3, frames), int), noise=False, step=step)
