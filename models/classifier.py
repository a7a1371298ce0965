"""The one thing the rest of the suite knows about a model."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models.device import sent
from clip_robustness.models.options import Precision
from clip_robustness.models.precision import computing_in

Geometry = Callable[[Image.Image], Image.Image]
"""Resize, crop and convert to RGB: any image -> RGB image of the model's resolution."""


class Classifier(nn.Module):
    """Images in [0, 1] in, logits out; the normalisation is inside.

    `logits(images)` takes float (n, 3, side, side) in [0, 1] at the model's own resolution and returns float
    (n, classes), differentiable with respect to the images. The weights are frozen and in evaluation mode. Which kind
    of model is inside is nobody's business. `fingerprint` stands for everything that the logits depend on, `weights`
    for the weights alone, of both towers, whatever the preprocessing and the prompts. `precision` is that of the
    forward pass inside; images, weights and logits are float32. In words for the reader: `prompts`, which
    prompts a zero-shot head was made of, and `interpolation` and `crop`, what `geometry` does. `code` is the version of
    the code and the libraries that built it (`models.code_version`). `elsewhere`: whether something of it comes from
    files that its spec does not name, such as a tokenizer from a hub.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str,
        classes: ClassList,
        image_size: int,
        geometry: Geometry,
        mean: Sequence[float],
        std: Sequence[float],
        fingerprint: str,
        weights: str = "",
        prompts: str = "",
        interpolation: str = "",
        crop: str = "",
    ) -> None:
        super().__init__()
        self.net, self.name, self.classes = net, name, classes
        self.fingerprint, self.weights = fingerprint, weights
        self.prompts, self.interpolation, self.crop = prompts, interpolation, crop
        self.code, self.elsewhere = "", False
        self.image_size, self.geometry = image_size, geometry
        self.precision: Precision = "fp32"
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        normalised = (images - self.mean) / self.std
        with computing_in(self.precision, images.device):
            logits: Tensor = self.net(normalised)
        return logits.to(images.dtype)

    @property
    def loaded(self) -> Classifier:
        """Itself, as that of a `models.remembered.Model`."""
        return self

    def in_fp32(self) -> Classifier:
        """The same model, computing in float32; itself where it does."""
        if self.precision == "fp32":
            return self
        exact = copy.copy(self)
        exact.precision = "fp32"
        return exact

    def logits(self, images: Tensor) -> Tensor:
        """`forward` for input that has not been checked yet."""
        check_images(self, images)
        return self(images)


def check_images(classifier: Classifier, images: Tensor) -> None:
    """Raise `InputError` for images outside [0, 1] or of another shape than the classifier takes."""
    low, high = torch.stack(torch.aminmax(images)).tolist()
    if not (low >= 0 and high <= 1):
        raise InputError(f"{classifier.name}: images must lie in [0, 1], these lie in [{low:.3g}, {high:.3g}]")
    check_shape(classifier, images)


def check_shape(classifier: Classifier, images: Tensor) -> None:
    """Raise `InputError` for images of another shape than the classifier takes."""
    side, shape = classifier.image_size, tuple(images.shape)
    if shape[1:] != (3, side, side):
        raise InputError(f"{classifier.name}: images must have the shape (n, 3, {side}, {side}), not {shape}")


def top_classes(logits: Tensor) -> Tensor:
    """Top-1 classes, int64 (n,), -1 for logits that are not finite. To find out waits for no device; `known` tells."""
    return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)


def known(classifier: Classifier, classes: Sequence[int]) -> Sequence[int]:
    """Top classes as they are. Raises `FloatingPointError` for logits that are not finite: they have no top class."""
    if min(classes, default=0) < 0:
        raise FloatingPointError(
            f"{classifier.name}: logits are NaN or infinite; the checkpoint or its precision is broken"
        )
    return classes


def predictions_of(classifier: Classifier, logits: Tensor) -> Tensor:
    """Top-1 classes, int64 (n,). Raises as `known` does."""
    found = top_classes(logits)
    known(classifier, found.tolist())
    return found


@torch.inference_mode()
def predict(classifier: Classifier, images: Tensor) -> list[int]:
    """Top-1 classes of images as `Classifier.logits` takes them. Raises as that and `known` do."""
    return [*known(classifier, top_classes(classifier.logits(images)).tolist())]


def to_tensor(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (..., height, width, 3) -> float (..., 3, height, width) in [0, 1]."""
    planes = sent(torch.tensor(pixels), device).movedim(-1, -3)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def fingerprint_of(module: nn.Module, *identity: object) -> str:
    """SHA-256 of all weights by name, and of what else the logits depend on (architecture, preprocessing, class names,
    prompts), by its repr; 16 hexadecimal digits."""
    return identified(weights_of(module), *identity)


def identified(weights: str, *identity: object) -> str:
    """`fingerprint_of` for weights of which `weights_of` is known."""
    return hashlib.sha256(f"{weights} {identity!r}".encode()).hexdigest()[:16]


def weights_of(module: nn.Module) -> str:
    """SHA-256 of all weights by name, 16 hexadecimal digits: the same for every file that they are read from."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if not isinstance(value, Tensor):  # what a module keeps beside its weights
            digest.update(f"{key} {value!r}".encode())
            continue
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def probe_images(classifier: Classifier) -> Tensor:
    """Two images with little in common: noise, and a slope from dark to light. float (2, 3, side, side) in [0, 1]."""
    side = classifier.image_size
    noise = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    slope = torch.linspace(0, 1, side).expand(3, side, side)
    return torch.stack([noise, slope]).to(classifier.mean.device)


def probe(classifier: Classifier) -> None:
    """Run two images through, to find a broken model before hours are spent on it.

    Raises `InputError` where they do not pass, or the logits are not finite, not one a class, or the same for all.
    """
    try:
        with torch.inference_mode():
            logits = classifier.logits(probe_images(classifier))
            predictions_of(classifier, logits)
    except (InputError, FloatingPointError) as error:
        raise InputError(str(error)) from None
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{classifier.name}: a test image does not pass: {type(error).__name__}: {reason}") from error
    if logits.shape != (2, len(classifier.classes)):
        raise InputError(
            f"{classifier.name}: gives {tuple(logits.shape)[1:]} logits an image, but the suite's class list "
            f"'{classifier.classes.name}' has {len(classifier.classes)} classes"
        )
    spread = 1e-6 * logits.abs().max()
    if (logits[0] - logits[1]).abs().max() <= spread or (logits.amax(1) - logits.amin(1)).min() <= spread:
        raise InputError(
            f"{classifier.name}: its logits are constant, whatever the image; the checkpoint is empty or collapsed"
        )
