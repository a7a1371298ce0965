"""What is put on images from a file that was made elsewhere, without a query: a perturbation for all, or a picture.

The table of a suite names it: `attacks = { names = "universal-file", file = "u.safetensors", eps = "8/255" }`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.datasets.pixels import Pixels, Rng
from clip_robustness.errors import InputError, reason
from clip_robustness.models.classifier import predict, to_tensor
from clip_robustness.registry import attack

SHARES, TURN = (0.2, 0.4), 20.0
"""A patch's longer side, as a share of the image's, and how far it is turned at most, in degrees."""


def perturbation(file: Path, side: int, eps: float) -> Tensor:
    """Of a file: float (3, side, side) in [-eps, eps], resized (bilinearly) where it has another side.

    The file is a `.safetensors` with one tensor or a `.npy`, (3, h, w) or (1, 3, h, w), in the unit of pixels in
    [0, 1]. Raises `InputError` naming it for pickles, other shapes, what is not finite, and numbers beyond [-1, 1].
    """
    if file.suffix not in (".safetensors", ".npy"):
        raise InputError(f"{file}: a .safetensors or a .npy is expected; a pickle could run code, convert it")
    try:
        if file.suffix == ".npy":
            found = torch.from_numpy(np.asarray(np.load(file, allow_pickle=False), np.float32))
        else:
            tensors = load_file(file)
            if len(tensors) != 1:
                raise InputError(f"{file}: one tensor is expected, it has {len(tensors)}")
            found = next(iter(tensors.values())).float()
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{file}: not a perturbation that can be read: {reason(error)}") from None
    found = found[0] if found.ndim == 4 and len(found) == 1 else found
    if found.ndim != 3 or len(found) != 3 or not found.numel():
        raise InputError(f"{file}: a tensor (3, height, width) is expected, not {tuple(found.shape)}")
    if not found.isfinite().all() or found.abs().max() > 1:
        raise InputError(f"{file}: its numbers should lie in [-1, 1], in the unit of pixels; divide by 255?")
    if found.shape[1:] != (side, side):
        found = F.interpolate(found[None], (side, side), mode="bilinear", align_corners=False)[0]
    return found.clamp(-eps, eps)


def with_patch(image: Pixels, patch: Image.Image, rng: Rng) -> Pixels:
    """An image uint8 (height, width, 3) with an RGBA picture on it, its longer side 0.2 to 0.4 of the image's shorter
    one, turned by up to 20 degrees either way, wholly inside at a random place."""
    canvas = Image.fromarray(image)
    longer = rng.uniform(*SHARES) * min(canvas.size)
    size = [max(1, round(length * longer / max(patch.size))) for length in patch.size]
    turned = patch.resize((size[0], size[1]), Image.Resampling.LANCZOS).rotate(
        rng.uniform(-TURN, TURN), Image.Resampling.BICUBIC, expand=True
    )
    x, y = (
        int(rng.integers(0, max(1, whole - part + 1))) for whole, part in zip(canvas.size, turned.size, strict=True)
    )
    canvas.paste(turned, (x, y), turned)
    return np.asarray(canvas)


def read_patch(file: Path) -> Image.Image:
    """Raises `InputError` naming the file where it is no picture."""
    try:
        with Image.open(file, formats=("PNG", "JPEG", "WEBP")) as picture:
            return picture.convert("RGBA")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not a picture that can be read: {reason(error)}") from None


@attack(
    "universal-file", access="black-box", runner="itself", takes_file=True, passes=(2, 0), pictured=False,
    draws=False, about="a perturbation of a file",
    source="Moosavi-Dezfooli et al. 2017; zoos such as Huang et al. 2025",
)  # fmt: skip
def moved(context: Context, batches: Batches) -> Iterator[Answers]:
    """All images by one perturbation, clamped to eps."""
    eps, victim = context.condition.eps, context.victim.in_fp32()
    assert eps is not None
    found = cache(lambda: perturbation(context.condition.given_file, victim.image_size, eps).to(context.device))

    def answers(batch: Batch) -> Answers:
        def attacked(_: list[int], images: Tensor) -> list[int]:
            return predict(victim, (images + found()).clamp(0, 1))

        return context.where_correct(batch, attacked)

    return map(answers, batches)


@attack(
    "patch", access="black-box", runner="itself", eps=(), takes_file=True, passes=(2, 0), drawing=2,
    about="a picture of a file at a random place", source="Brown et al. 2017, Adversarial Patch",
)  # fmt: skip
def patched(context: Context, batches: Batches) -> Iterator[Answers]:
    """The place, the size and the turn are each image's own."""
    patch = cache(lambda: read_patch(context.condition.given_file))

    def answers(batch: Batch) -> Answers:
        seen = [with_patch(pixels, patch(), context.rng(sample)) for sample, pixels in batch]
        shown = to_tensor(np.stack(seen), context.device)
        context.note([sample for sample, _ in batch], shown)

        def attacked(correct: list[int], _: Tensor) -> list[int]:
            return predict(context.victim.in_fp32(), shown[correct])

        return context.where_correct(batch, attacked)

    return map(answers, batches)
