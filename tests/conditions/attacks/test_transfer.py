"""Transfer: what becomes of a surrogate's perturbation between two resolutions, and which attacks craft it."""

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks import transfer
from clip_robustness.conditions.attacks.gradient import FGSM, SignSteps
from clip_robustness.conditions.condition import attack
from tests import small


class Brighter(torch.nn.Module):
    """The second of two logits grows with every pixel; the first wins all the same."""

    def forward(self, images):
        up = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(up), up - 10], dim=1)


@pytest.fixture
def surrogate():
    model = small.wrapped(Brighter(), "brighter")
    model.classes = type(model.classes)("two", ("a", "b"), ("a", "b"))
    return model


def crafted(surrogate, images, eps, method=FGSM):
    rngs = [np.random.default_rng(i) for i in range(len(images))]
    return transfer.craft(surrogate, method, images, [0] * len(images), eps, rngs)


@pytest.mark.parametrize("side", [16, 40])
def test_each_image_moves_by_its_own_eps_at_either_side_and_stays_in_the_range(surrogate, side):
    levels = torch.tensor([0.2, 0.5, 0.99])
    images = levels[:, None, None, None].expand(3, 3, side, side)
    found = crafted(surrogate, images, [0.01, 0.04, 0.04])
    expected = torch.tensor([0.21, 0.54, 1.0])[:, None, None, None].expand_as(images)
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_image_that_is_wrong_for_the_surrogate_takes_all_steps(surrogate):
    images = torch.full((1, 3, 16, 16), 0.5)
    found = transfer.craft(surrogate, SignSteps(2, size=0.25), images, [1], [0.04], [None])
    assert torch.allclose(found, images - 0.02, atol=1e-6)


def test_smaller_images_are_smoothed_and_larger_ones_interpolated():
    """By half: a triangle over four pixels, 1, 3, 3, 1 eighths. Twice as large: quarters between middles."""
    line = torch.tensor([0.0, 0, 0, 8, 0, 0, 0, 0]).expand(1, 3, 8, 8)
    assert transfer.resampled(line, 4)[0, 0, 0].tolist() == pytest.approx([0, 3, 1, 0])
    assert transfer.resampled(torch.tensor([0.0, 4]).expand(1, 3, 2, 2), 4)[0, 0, 0].tolist() == [0, 1, 3, 4]
    assert transfer.resampled(line, 8) is line


@pytest.mark.parametrize("name", ["fgsm", "bim", "mim", "dim"])
def test_each_name_runs_its_method_with_ten_iterations(name):
    method = attack(f"transfer-{name}", "8/255").registered.function()
    assert method is transfer.CRAFTED[name]
    assert method.steps(8 / 255) == (1 if name == "fgsm" else 10)
    assert (method.momentum, method.diverse) == (1.0 if name in ("mim", "dim") else None, name == "dim")
