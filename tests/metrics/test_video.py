"""pm-k worked out by hand."""

import numpy as np
import pytest

from clip_robustness.datasets.dataset import Anchor
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.video import over_anchors


def frames(right, unreadable=()):
    """Outcomes of frames, of class 7: id -> right or wrong."""
    ids = tuple(right)
    correct = np.array([right[i] for i in ids])
    predictions, measures = np.where(correct, 7, np.arange(len(ids))), {"eps": np.ones(len(ids))}
    return Outcomes(ids, np.full(len(ids), 7), predictions, correct, tuple(unreadable), measures=measures)


BY_HAND = {"a": True, "a-1": True, "a+2": False, "a+10": True, "b": False, "b+1": True, "c": True, "c+11": False}
ANCHORS = (
    Anchor("a", (("a-1", 1), ("a+2", 2), ("a+10", 10))),
    Anchor("b", (("b+1", 1),)),
    Anchor("c", (("c+11", 11),)),
)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        ({"k": 0}, [True, False, True]),  # the anchors alone: b is wrong
        ({"k": 1}, [True, False, True]),  # a-1 is right; b stays wrong though its neighbour is right
        ({"k": 2}, [False, False, True]),  # a+2 is wrong: a is lost
        ({}, [False, False, True]),  # ten frames
        ({"k": 11}, [False, False, False]),
    ],
)
def test_pm_k_by_hand(k, expected):
    found = over_anchors(frames(BY_HAND), ANCHORS, **k)
    assert found.ids == ("a", "b", "c")
    assert found.correct.tolist() == expected
    assert found.others["pm0"].tolist() == [True, False, True]
    assert (found.labels.tolist(), found.predictions.tolist()) == ([7, 7, 7], [7, 4, 7])
    assert (found.measures, found.rivals) == ({}, None)


def test_an_anchor_with_an_unreadable_frame_within_k_is_left_out():
    right = {id: True for id in BY_HAND if id != "a+2"}
    without = frames(right, ["a+2"])
    assert over_anchors(without, ANCHORS).ids == ("b", "c")
    assert over_anchors(without, ANCHORS, k=1).ids == ("a", "b", "c")
    assert over_anchors(without, ANCHORS).unreadable == ("a+2",)
    tenth = frames({id: True for id in BY_HAND if id != "a+10"}, ["a+10"])
    assert over_anchors(tenth, ANCHORS).ids == ("b", "c")
