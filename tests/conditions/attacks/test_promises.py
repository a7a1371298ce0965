"""What attacks of plugins promise: each way to break it, and how much floating point may change."""

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks.promises import check_attack
from clip_robustness.errors import InputError
from tests import small


@pytest.fixture(scope="module")
def victim():
    return small.load("cnn")


def fgsm(model, images, labels, eps, rngs):
    images = images.requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(images), labels, reduction="sum")
    return (images + eps * torch.autograd.grad(loss, images)[0].sign()).clamp(0, 1)


def blind(model, images, labels, eps, rngs):
    return fgsm(model, images, labels, eps, rngs)


blind.access = "black-box"


def in_place(model, images, labels, eps, rngs):
    """Works on the tensors that it is given, and moves them by its own random numbers."""
    labels += 1
    return images.mul_(1 - eps).add_(torch.tensor([rng.random() * eps for rng in rngs])[:, None, None, None])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda model, images, labels, eps, rngs: (images + 2 * eps).clamp(0, 1), "leaves the ball"),
        (lambda model, images, labels, eps, rngs: images + eps, "outside [0, 1]"),
        (lambda model, images, labels, eps, rngs: images - eps, "outside [0, 1]"),
        (lambda model, images, labels, eps, rngs: images * torch.nan, "outside [0, 1]"),
        (lambda model, images, labels, eps, rngs: images[:, :, 1:], "returns torch.float32 (4, 3, 15, 16)"),
        (lambda model, images, labels, eps, rngs: images.double(), "returns torch.float64"),
        (lambda model, images, labels, eps, rngs: None, "returns NoneType"),
        (
            lambda model, images, labels, eps, rngs: (images + eps * (torch.rand_like(images) - 0.5)).clamp(0, 1),
            "call to call",
        ),
        (lambda model, images, labels, eps, rngs: (images + eps / len(images)).clamp(0, 1), "depends on the others"),
        (lambda model, images, labels, eps: images, "TypeError"),
        (blind, "does not require grad"),
    ],
)
def test_attacks_that_break_their_promise(victim, function, says):
    with pytest.raises(InputError) as error:
        check_attack(function, victim)
    assert says in str(error.value)


def test_of_an_error_the_first_line_is_told(victim):
    def broken(*_):
        raise ValueError("first\nsecond")

    with pytest.raises(InputError, match=r"ValueError: first$"):
        check_attack(broken, victim)


@pytest.mark.parametrize("function", [fgsm, in_place])
def test_what_keeps_its_promise(victim, function):
    check_attack(function, victim)


@pytest.mark.parametrize(("share", "by", "kept"), [(0.015, 0.01, True), (0.03, 0.01, False), (1, 5e-5, True)])
@pytest.mark.parametrize("alone", [False, True])
def test_batches_and_calls_may_differ_in_two_percent_of_the_pixels_or_by_little(victim, share, by, kept, alone):
    """From call to call, or where an image is alone."""
    calls = []

    def drifting(model, images, labels, eps, rngs):
        calls.append(len(images))
        moved = images * (1 - eps)
        changed = calls[-1] == 1 if alone else len(calls) % 2 == 0
        flat = moved.view(len(images), -1)
        flat[:, : round(share * flat.shape[1])] += by * changed
        return moved

    if kept:
        check_attack(drifting, victim)
        return
    with pytest.raises(InputError, match="depends on the others" if alone else "differs from call to call"):
        check_attack(drifting, victim)


def test_the_ball_has_a_slack_of_a_millionth(victim):
    def beyond(by):
        return lambda model, images, labels, eps, rngs: images + (eps + by) * torch.where(images > 0.5, -1, 1)

    check_attack(beyond(5e-7), victim)
    with pytest.raises(InputError, match=r"leaves the ball: 0\.0314 from an image at eps 0\.0314; clamp"):
        check_attack(beyond(2.5e-6), victim)


def test_eps_is_eight_levels_and_each_image_has_its_own_numbers(victim):
    seen = []

    def watching(model, images, labels, eps, rngs):
        seen.append((eps, [rng.random() for rng in rngs], torch.equal(model(images).argmax(1), labels)))
        return images

    check_attack(watching, victim)
    numbers = [np.random.default_rng(seed).random() for seed in range(4)]
    assert seen[:2] == [(8 / 255, numbers, True)] * 2
    assert [drawn for _, drawn, _ in seen[2:]] == [[number] for number in numbers]
