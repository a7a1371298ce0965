"""Outcomes of some of the images."""

from dataclasses import fields, replace

import numpy as np

from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.outcomes import Outcomes, in_common

WHOLE = Outcomes(
    ids=tuple("abcd"),
    labels=np.array([0, 1, 2, 3]),
    predictions=np.array([0, 1, 2, 0]),
    correct=np.array([True, True, True, False]),
    unreadable=("x",),
    fault="it is broken",
    seconds=2.0,
    others={"pm0": np.array([True, False, True, False])},
    measures={"m": np.arange(4.0)},
    rivals=np.array([3, 2, 1, 0]),
    notes=("a note",),
    clusters=Clusters.of([("u",), ("u",), ("v",), ("v",)]),
    groups=(("one",), (), ("two", "one"), ("two",)),
    seeds=2,
)


def test_all_that_belongs_to_images_goes_with_them():
    some = WHOLE.only([True, False, True, True])
    assert some.ids == ("a", "c", "d")
    assert [list(x) for x in (some.labels, some.predictions, some.correct)] == [[0, 2, 3], [0, 2, 0], [1, 1, 0]]
    assert [list(x) for x in (some.others["pm0"], some.measures["m"], some.rivals)] == [
        [1, 1, 0],
        [0, 2, 3],
        [1 * 3, 1, 0],
    ]
    assert some.groups == (("one",), ("two", "one"), ("two",))
    assert some.clusters.ways.tolist() == [[0, 1, 1]]
    assert some.seeds == 1
    for name in ("unreadable", "fault", "seconds", "notes"):
        assert getattr(some, name) == getattr(WHOLE, name)
    assert len(fields(Outcomes)) == 14  # a new one belongs to images, or to the cell: decide, and add it here


def test_what_there_is_none_of_stays_none():
    some = replace(WHOLE, rivals=None, clusters=None, groups=(), others={}).only(np.array([0, 1, 1, 0], bool))
    assert (some.rivals, some.clusters, some.groups, some.others) == (None, None, (), {})


def test_it_is_short_in_messages():
    assert repr(WHOLE) == "Outcomes(3 of 4 correct)"


def test_images_that_all_members_have():
    one, other = in_common([WHOLE, WHOLE.only([False, True, True, False])])
    assert one.ids == other.ids == ("b", "c")
