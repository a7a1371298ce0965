"""Right under all of several conditions: which images count, and what is known of them."""

import numpy as np
import pytest

from clip_robustness.errors import InputError
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.worst import right_under_all


def outcomes(predictions, ids="abcd", **changes):
    """Of images of class 0."""
    predictions = np.array(predictions)
    return Outcomes(tuple(ids), np.zeros_like(predictions), predictions, predictions == 0, **changes)


def test_an_image_is_right_where_all_members_are():
    """What it is taken for is what the first member that fools it makes of it."""
    found = right_under_all({"bim": outcomes([0, 1, 0, 2], seconds=2.0), "square": outcomes([0, 3, 4, 0], seconds=1.0)})
    assert found.correct.tolist() == [True, False, False, False]
    assert found.predictions.tolist() == [0, 1, 4, 2]
    assert found.seconds == 3


def test_members_are_paired_by_image():
    found = right_under_all({"one": outcomes([0, 1, 0, 0]), "other": outcomes([5, 0, 0], ids="acd")})
    assert found.ids == ("a", "c", "d")
    assert found.correct.tolist() == [False, True, True]
    assert found.notes == ("1 images that not all members have are left out",)
    with pytest.raises(InputError, match="one, other have no image in common"):
        right_under_all({"one": outcomes([0] * 4), "other": outcomes([0] * 4, ids="wxyz")})


def test_what_all_members_tell_of_images_is_that_of_the_worst():
    eps, zero = np.array([0.1, 0.3, 2.0, 0.2]), np.array([1.0, 0, 1, 0])
    counts = {"passes": np.ones(4), "queries": np.arange(4.0)}
    one = outcomes([0] * 4, measures={"smallest_eps": eps, "zero_gradient": zero, **counts})
    other = outcomes([0] * 4, measures={"smallest_eps": eps[::-1], "passes": np.full(4, 2.0), "queries": np.ones(4)})
    found = right_under_all({"bim": one, "deepfool": other})
    assert found.measures["smallest_eps"].tolist() == [0.1, 0.3, 0.3, 0.1]
    assert found.measures["passes"].tolist() == [3, 3, 3, 3]
    assert found.measures["queries"].tolist() == [1, 2, 3, 4]
    assert "zero_gradient" not in found.measures  # of one alone nothing follows
