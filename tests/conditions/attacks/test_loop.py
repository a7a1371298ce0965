"""The loop of attacks: a method that makes images brighter, against a model that tells bright from dark."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks.loop import Attacked, Method, Task, run, run_in_order
from clip_robustness.datasets.classes import ClassList
from tests import small

SIDE = small.SIDE


class Bright(torch.nn.Module):
    """Of three classes the second from a brightness of a half on, else the first."""

    def forward(self, images):
        up = images.mean((1, 2, 3))  # -2 to 2, 0 at a half
        return torch.stack([-up, up, torch.full_like(up, -9)], 1)


@pytest.fixture(scope="module")
def victim():
    return small.wrapped(Bright(), "bright", ClassList("three", tuple("abc"), tuple("abc")))


@dataclass(frozen=True)
class Up(Method):
    """By `size` a step. Notes the images of each batch, and how many survive in it."""

    count: int = 5
    size: float = 0.05
    wanders: bool = False
    seen: tuple = ()

    def steps(self, eps):
        return self.count

    def begin(self, classifier, batch):
        batch.memory["begun"] = batch.now[:, 0, 0, 0]

    def look(self, classifier, batch):
        for note in self.seen:
            note.append(([task.key for task in batch.tasks], batch.survival, batch.memory["begun"].tolist()))
        batch.passes += 1
        batch.zero_gradient |= batch.now[:, 0, 0, 0] < 0.3
        return classifier(batch.now), lambda rows: batch.now[rows] + self.size


def at(level, eps=0.25, **known):
    return Task(level, torch.full((3, SIDE, SIDE), level), 0, eps, **known)


def brightness(done):
    return [round(float(each.image.mean()), 4) for each in done]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_image_leaves_where_it_fools_and_stays_in_its_ball_where_it_does_not(victim, size):
    """0.42 fools at the second step; 0.6 is wrong when clean; the others stop at their ball, or at their last step."""
    tasks = [at(0.2), at(0.42), at(0.6), at(0.1, 0.12), at(0.44, 0.05)]
    found = run_in_order(victim, Up(), tasks, size=size)
    assert brightness(found) == [0.45, 0.52, 0.6, 0.22, 0.49]
    assert [done.steps for done in found] == [5, 2, 0, 5, 5]
    assert [done.passes for done in found] == [6, 3, 1, 6, 6]
    assert [done.prediction for done in found] == [0, 1, 1, 0, 0]
    assert [done.fooled for done in found] == [False, True, True, False, False]
    assert [done.zero_gradient for done in found] == [True, False, False, True, False]
    assert {done.method for done in found} == {Up()}


def test_for_crafting_all_take_all_steps(victim):
    found = run_in_order(victim, Up(), [at(0.2), at(0.42), at(0.6)], size=2, stop_early=False)
    assert brightness(found) == [0.45, 0.67, 0.85]
    assert [done.steps for done in found] == [5] * 3


def test_free_places_are_taken_at_once(victim):
    notes = []
    list(run(victim, Up(2, seen=(notes,)), [at(level) for level in (0.6, 0.48, 0.1, 0.2, 0.7)], size=2))
    assert [keys for keys, *_ in notes] == [[0.6, 0.48], [0.48, 0.1], [0.1, 0.2], [0.1, 0.2], [0.2, 0.7]]
    assert all(begun == pytest.approx(keys) for keys, _, begun in notes)


def test_the_share_that_survives_a_move_is_known_from_those_before(victim):
    """A third before anything is known, as of one in three. Then 0.46 goes to 0.51, and 0.2 survives two moves."""
    notes = []
    list(run(victim, Up(2, seen=(notes,)), [at(0.46), at(0.2), at(0.6)], size=3))
    assert [survival for _, survival, _ in notes] == pytest.approx([1 / 3, 1 / 3, 2 / 5])
    notes.clear()
    list(run(victim, Up(1, seen=(notes,)), [at(0.2)], size=1, stop_early=False))
    assert [survival for _, survival, _ in notes] == [None, None]


def test_each_channel_has_its_radius_and_its_range(victim):
    radii = torch.tensor([0.1, 0.2, 0.05]).view(3, 1, 1)
    bounds = torch.zeros(3, 1, 1), torch.tensor([1.0, 0.35, 1.0]).view(3, 1, 1)
    (done,) = run(victim, Up(), [at(0.2, radii)], size=1, bounds=bounds)
    assert done.image[:, 0, 0].tolist() == pytest.approx([0.3, 0.35, 0.25])


def test_what_left_its_ball_on_the_way_counts_inside_alone(victim):
    """0.48 would fool at 0.53, out of its ball of 0.04; 0.4 does within its own of 0.12."""
    found = run_in_order(victim, Up(3, wanders=True), [at(0.48, 0.04), at(0.4, 0.16)], size=2)
    assert [done.fooled for done in found] == [False, True]
    assert brightness(found) == [0.48, 0.55]
    assert [done.steps for done in found] == [3, 3]
    (done,) = run(victim, Up(3, wanders=True), [at(0.48, 0.5)], size=1)
    assert brightness([done]) == [0.53]


def test_another_method_goes_on_from_the_clean_image_with_what_the_first_took(victim):
    (first,) = run(victim, Up(1), [at(0.2)], size=1)
    assert first.again.image is first.task.image
    (second,) = run(victim, Up(2), [first.again], size=1)
    assert (second.steps, second.passes, second.zero_gradient) == (2, 2 + 3, True)
    (kept,) = run(victim, Up(1), [at(0.4, passes=7, zero_gradient=True)], size=1)
    assert (kept.passes, kept.zero_gradient) == (9, True)


def test_what_is_done_passes_through(victim):
    known = Attacked(at(0.1), Up(), torch.zeros(3, SIDE, SIDE), 2, 1, 1, zero_gradient=False)
    found = list(run(victim, Up(), [known, at(0.6), known], size=1))
    assert [done is known for done in found] == [True, False, True]


def test_steps_are_asked_for_the_largest_radius_in_single_precision(victim):
    asked = []

    class Asking(Up):
        def steps(self, eps):
            asked.append(eps)
            return 0

    list(run(victim, Asking(), [at(0.2, 0.1), at(0.2, torch.tensor([0.1, 0.3, 0.2]).view(3, 1, 1))], size=2))
    assert asked == [float(np.float32(0.1)), float(np.float32(0.3))]
