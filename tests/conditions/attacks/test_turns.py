"""Attacks one after the other: in which precision each is tried, and on what."""

import copy
from dataclasses import dataclass

import pytest
import torch

from clip_robustness.conditions.attacks.loop import Task
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.datasets.classes import ClassList
from tests import small
from tests.conditions.attacks.test_loop import Bright, Up


@dataclass(frozen=True)
class Told(Up):
    """Notes its name, the precision, and the images that it looks at."""

    name: str = ""
    notes: tuple = ()

    def look(self, classifier, batch):
        self.notes[0].append((self.name, classifier.precision, [task.key for task in batch.tasks]))
        return super().look(classifier, batch)


@pytest.fixture
def victim():
    return small.wrapped(Bright(), "bright", ClassList("three", tuple("abc"), tuple("abc")))


def tasks(*levels):
    return [Task(level, torch.full((3, small.SIDE, small.SIDE), level), 0, 0.25) for level in levels]


def tried(victim, levels, size=4):
    notes = []
    methods = (Told(1, name="first", notes=(notes,)), Told(2, 0.1, name="last", notes=(notes,)))
    found = sorted(in_turn(victim, methods, tasks(*levels), size=size), key=lambda done: done.task.key)
    return notes, [(done.method.name, done.fooled, done.passes) for done in found]


def test_each_is_tried_on_what_the_ones_before_left_standing(victim):
    notes, found = tried(victim, (0.1, 0.48, 0.6))
    assert {(name, precision) for name, precision, _ in notes} == {("first", "fp32"), ("last", "fp32")}
    assert {key for name, _, keys in notes for key in keys if name == "last"} == {0.1}
    assert found == [("last", False, 2 + 3), ("first", True, 2), ("first", True, 1)]


def test_the_first_is_tried_in_a_lower_precision_before(victim):
    """What it finds there has to fool in float32, a pass more; what stands is attacked anew by all."""
    low = copy.copy(victim)
    low.precision = "bf16"
    notes, found = tried(low, (0.1, 0.48, 0.6))
    assert [(name, precision) for name, precision, _ in notes[:2]] == [("first", "bf16")] * 2
    assert {key for name, precision, keys in notes for key in keys if precision == "fp32"} == {0.1}
    assert [name for name, precision, _ in notes if precision == "fp32"] == ["first"] * 2 + ["last"] * 3
    assert found == [("last", False, 2 + 2 + 3), ("first", True, 3), ("first", True, 1)]
