"""FGSM and BIM: parity with torchattacks, and what every attack must keep to."""

import copy

import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from attacks.gradient import STEPS, attack
from models import InputError
from models.classes import class_list
from models.mini.sets import picture


@pytest.fixture(scope="module")
def victim():
    return models.load("mini:supervised", class_list("mini"))


@pytest.fixture(scope="module")
def batch():
    drawn = [picture("imagenet", i) for i in range(48)]
    images = torch.stack([torch.from_numpy(p.copy()) for p, _ in drawn]).permute(0, 3, 1, 2).float() / 255
    return images, torch.tensor([label for _, label in drawn])


def peer(victim, name, eps):
    steps = STEPS[name](eps)
    if name == "fgsm":
        return torchattacks.FGSM(victim, eps=eps)
    return torchattacks.BIM(victim, eps=eps, alpha=steps.size * eps, steps=steps.count)


@pytest.mark.parametrize("name", ["fgsm", "bim"])
@pytest.mark.parametrize("units", [0.25, 1, 8])
def test_parity_with_torchattacks(victim, batch, name, units):
    """The same adversarial images where ours never stopped early, and the same accuracy.

    In double precision: in single precision a gradient near zero has another sign in another batch.
    """
    victim, images, labels = copy.deepcopy(victim).double(), batch[0].double(), batch[1]
    ours, predictions = attack(victim, images, labels, name, units / 255)
    theirs = peer(victim, name, units / 255)(images, labels)
    with torch.no_grad():
        clean, their_predictions = victim(images).argmax(1), victim(theirs).argmax(1)
    whole_way = predictions == labels if name == "bim" else clean == labels
    assert torch.allclose(ours[whole_way], theirs[whole_way], atol=1e-6)
    assert torch.equal(predictions == labels, (their_predictions == labels) & (clean == labels))


@pytest.mark.parametrize("name", ["fgsm", "bim"])
@settings(max_examples=8, deadline=None)
@given(units=st.floats(0.1, 64))
def test_the_ball_the_range_and_what_is_wrong_when_clean(victim, batch, name, units):
    images, labels = batch
    eps = units / 255
    adversarial, predictions = attack(victim, images, labels, name, eps)
    assert (adversarial - images).abs().max() <= eps + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    with torch.no_grad():
        wrong = victim(images).argmax(1) != labels
        again = victim(adversarial).argmax(1)
    assert torch.equal(adversarial[wrong], images[wrong])
    assert (predictions != again).sum() <= 1  # what is reported is what the adversarial images give, at any batch size


def test_accuracy_falls_with_eps_and_bim_is_not_weaker_than_fgsm(victim, batch):
    images, labels = batch
    right = {
        (name, units): int((attack(victim, images, labels, name, units / 255)[1] == labels).sum())
        for name in STEPS
        for units in (0.25, 1, 2, 4, 8)
    }
    for name in STEPS:
        curve = [right[name, units] for units in (0.25, 1, 2, 4, 8)]
        assert curve == sorted(curve, reverse=True) or name == "fgsm"  # one large step may overshoot
    assert all(right["bim", units] <= right["fgsm", units] for units in (0.25, 1, 2, 4, 8))
    assert right["bim", 8] == 0


@pytest.mark.parametrize(("units", "count"), [(0.25, 7), (1, 7), (4, 7), (8, 10), (16, 20)])
def test_bim_has_the_benchmarks_steps_and_always_reaches_the_surface_of_the_ball(units, count):
    steps = STEPS["bim"](units / 255)
    assert steps.count == count
    assert steps.count * steps.size >= 1


def test_a_batch_that_is_all_wrong_stays_as_it_is(victim, batch):
    images, _labels = batch
    with torch.no_grad():
        wrong = (victim(images).argmax(1) + 1) % 24
    adversarial, predictions = attack(victim, images, wrong, "bim", 8 / 255)
    assert torch.equal(adversarial, images)
    assert not (predictions == wrong).any()


def test_images_outside_the_unit_interval_are_refused(victim, batch):
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        attack(victim, batch[0] * 255, batch[1], "fgsm", 8 / 255)
