"""What every classifier is, whatever is inside: by hand, around networks of a line."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import (
    Classifier,
    check_images,
    fingerprint_of,
    identified,
    predict,
    predictions_of,
    probe,
    probe_images,
    to_tensor,
    weights_of,
)

SIDE = 4


class Calls(nn.Module):
    """A network out of a function."""

    def __init__(self, function):
        super().__init__()
        self._function = function

    def forward(self, images):
        return self._function(images)


def classifier(function, classes=3, mean=(0, 0, 0), std=(1, 1, 1)):
    names = tuple("abcdefgh"[:classes])
    return Classifier(
        Calls(function), name="it", classes=ClassList("few", names, names), image_size=SIDE,
        geometry=lambda image: image, mean=mean, std=std, fingerprint="f",
    )  # fmt: skip


def means(images):
    """A logit a channel."""
    return images.mean((2, 3))


def grey(*levels):
    """An image a level."""
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)


def test_normalisation_is_inside_the_model():
    found = classifier(means, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.25)).logits(grey(0.75))
    assert found[0].tolist() == pytest.approx([(0.75 - 0.5) / 0.2, (0.75 - 0.4) / 0.1, (0.75 - 0.3) / 0.25])


def test_logits_are_of_the_images_type_whatever_the_precision_inside():
    it = classifier(lambda images: means(images).bfloat16())
    assert it.logits(grey(0.75)).dtype == torch.float32
    assert it.logits(grey(0.75).double()).dtype == torch.float64


def test_weights_are_frozen_and_layers_evaluate():
    it = classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 3), nn.Dropout()))
    assert not any(module.training for module in it.modules())
    assert [weight.requires_grad for weight in it.parameters()] == [False, False]
    images = grey(0.5).clone().requires_grad_()
    it.logits(images).sum().backward()
    assert images.grad.abs().min() > 0
    assert it.loaded is it


def test_the_same_model_in_float32():
    it = classifier(means)
    assert it.precision == "fp32"
    assert it.in_fp32() is it
    it.precision = "bf16"
    exact = it.in_fp32()
    assert (exact.precision, it.precision) == ("fp32", "bf16")
    assert exact.net is it.net


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (grey(0.0, 1.0), None),
        (grey(0.5, 1.001), r"it: images must lie in \[0, 1\], these lie in \[0.5, 1\]"),
        (grey(-0.001, 0.25), r"these lie in \[-0.001, 0.25\]"),
        (grey(float("nan")), r"these lie in \[nan, nan\]"),
        (torch.zeros(2, 3, SIDE, SIDE + 1), r"must have the shape \(n, 3, 4, 4\), not \(2, 3, 4, 5\)"),
        (torch.zeros(2, 1, SIDE, SIDE), r"not \(2, 1, 4, 4\)"),
    ],
)
def test_images_are_checked_by_range_and_shape(images, says):
    it = classifier(means)
    if says is None:
        check_images(it, images)
        return
    with pytest.raises(InputError, match=says):
        it.logits(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_top_classes_are_of_finite_logits(value):
    it = classifier(means)
    assert predictions_of(it, torch.tensor([[0.0, 2, 1], [3, 2, 1]])).tolist() == [1, 0]
    with pytest.raises(FloatingPointError, match="it: logits are NaN or infinite"):
        predictions_of(it, torch.tensor([[0.0, 2, 1], [3, value, 1]]))


def test_predictions_are_made_in_inference_mode():
    images = torch.zeros(2, 3, SIDE, SIDE)
    images[0, 2] = 0.5
    inference = []
    it = classifier(lambda images: inference.append(torch.is_inference_mode_enabled()) or means(images))
    assert predict(it, images) == [2, 0]
    assert inference == [True]


def test_pixels_become_channels_first_in_the_unit_interval():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    found = to_tensor(pixels, torch.device("cpu"))
    assert found.dtype == torch.float32
    assert (255 * found[0, 1]).round().tolist() == [[20, 80], [140, 200]]
    assert to_tensor(np.full((2, 2, 3), 255, np.uint8), torch.device("cpu")).max() == 1


def test_weights_are_told_by_name_type_shape_and_value():
    def of(**tensors):
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return weights_of(module)

    one, ramp = torch.ones(2, 2), torch.arange(4.0).view(2, 2)
    digest = hashlib.sha256(b"a torch.float32 (2, 2)" + one.numpy().tobytes() + b"b torch.float32 (2, 2)")
    digest.update(ramp.numpy().tobytes())
    assert of(a=one, b=ramp) == of(b=ramp, a=one) == digest.hexdigest()[:16]
    assert of(a=ramp.T) == of(a=ramp.T.contiguous())
    others = [of(a=one), of(b=one), of(a=one.view(4)), of(a=one.int()), of(a=one * 2), of(a=ramp.T), of(a=ramp)]
    assert len(set(others)) == len(others)


def test_what_a_module_keeps_beside_its_weights_counts():
    class Noted(nn.Module):
        def __init__(self, note):
            super().__init__()
            self.note = note

        def get_extra_state(self):
            return self.note

        def set_extra_state(self, state):
            self.note = state

    assert weights_of(Noted("a")) == hashlib.sha256(b"_extra_state 'a'").hexdigest()[:16]
    assert weights_of(Noted("a")) != weights_of(Noted("b"))


def test_a_fingerprint_is_of_weights_and_what_else_counts():
    module = nn.Linear(2, 2)
    expected = hashlib.sha256(f"{weights_of(module)} ('bicubic', 224)".encode()).hexdigest()[:16]
    assert fingerprint_of(module, "bicubic", 224) == identified(weights_of(module), "bicubic", 224) == expected


def test_a_probe_is_of_noise_and_of_a_slope():
    noise, slope = probe_images(classifier(means))
    assert noise.shape == slope.shape == (3, SIDE, SIDE)
    assert slope[:, :, 0].unique().tolist() == [0]
    assert slope[1, 2].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert torch.equal(noise, probe_images(classifier(means))[0])
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.unique().numel() == noise.numel()


def broken(images):
    raise RuntimeError("first\nsecond")


def silent(images):
    raise RuntimeError


BRIGHTNESS = torch.tensor([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda images: images.mean((1, 2, 3))[:, None] * BRIGHTNESS, None),
        (lambda images: images[:, 0, 0, :3] * 1e-4, None),
        (broken, "it: a test image does not pass: RuntimeError: first$"),
        (silent, "does not pass: RuntimeError: $"),
        (lambda images: means(images) * torch.nan, "it: logits are NaN or infinite"),
        (lambda images: means(images)[:, :2], r"gives \(2,\) logits an image, but .* 'few' has 3 classes"),
        (lambda images: means(images)[:1], r"gives \(3,\) logits an image"),
        (lambda images: BRIGHTNESS.expand(2, 3), "its logits are constant"),
        (lambda images: BRIGHTNESS.expand(2, 3) + 1e-7 * means(images), "its logits are constant"),
        (lambda images: images.mean((1, 2, 3))[:, None].expand(2, 3), "its logits are constant"),
        (lambda images: torch.stack([BRIGHTNESS, 0 * BRIGHTNESS]), "its logits are constant"),
    ],
)
def test_a_broken_model_is_found_by_two_images(function, says):
    """That logits differ means by more than a millionth of the largest, between the images and between classes."""
    if says is None:
        probe(classifier(function))
        return
    with pytest.raises(InputError, match=says):
        probe(classifier(function))
