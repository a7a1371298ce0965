"""`stylized-local`: a photo repainted in the texture of a painting, for whoever does not have Stylized-ImageNet.

The distributions of small patches of the photo are moved, scale by scale, to those of the painting by sliced optimal
transport (Rabin et al. 2011; of patches: Elnekave & Weiss 2022). Coarse structure stays the photo's, colours and
texture become the painting's, as in Stylized-ImageNet (Geirhos et al. 2019), which uses a network instead (AdaIN) and
paintings of a data set: the two are different conditions, and their figures must not be mixed. Light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from clip_robustness.conditions.source import Source
from clip_robustness.datasets.pixels import Pixels, Rng, checked

if TYPE_CHECKING:
    from torch import Tensor

_PATCH = 7
_FILTERS = 16
_ROUNDS = {4: 24, 2: 12, 1: 4}
"""Reduction -> rounds of matching at that scale, coarse to fine."""
_STEP = 0.6
_STROKES = 1500


def of_source(source: Source) -> Pixels:
    """`stylize` of an image as a model crops it."""
    return stylize(source.clean(), source.rng)


def stylize(image: Pixels, rng: Rng) -> Pixels:
    """An RGB image (height, width, 3), uint8 or float in [0, 1], as a painting of its own; returns uint8.

    Raises `InputError` for a side under 32 px, another type or range.
    """
    return repainted(image, painting(rng, min(image.shape[:2])), rng)


def repainted(image: Pixels, style: Pixels, rng: Rng) -> Pixels:
    """`image` in the texture of `style`, RGB both, of any size; the result is uint8 and has the size of `image`.

    Raises `InputError` as `stylize` does.
    """
    import torch

    with torch.inference_mode():
        return _transferred(_tensor(checked(image)), _tensor(checked(style)), rng)


def _transferred(image: Tensor, target: Tensor, rng: Rng) -> Pixels:
    from torch.nn import functional as F

    height, width = image.shape[2:]
    for reduction, rounds in _ROUNDS.items():
        size = height // reduction, width // reduction
        coarse = F.interpolate(image, size=size, mode="area")
        texture = F.interpolate(target, size=size, mode="area")  # as many patches as the image has
        painted = coarse
        for _ in range(rounds):
            painted = _matched(painted, texture, rng)
        change = F.interpolate(painted - coarse, size=(height, width), mode="bicubic", align_corners=False)
        image = image + change
    return (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def _matched(image: Tensor, texture: Tensor, rng: Rng) -> Tensor:
    """One round: random projections of all patches move, rank by rank, towards the values that the texture's have."""
    import torch
    from torch.nn import functional as F

    filters = rng.standard_normal((_FILTERS, 3, _PATCH, _PATCH)).astype(np.float32)
    weight = torch.from_numpy(filters / np.linalg.norm(filters.reshape(_FILTERS, -1), axis=1).reshape(-1, 1, 1, 1))
    margin = _PATCH // 2
    ours, theirs = (F.conv2d(F.pad(x, (margin,) * 4, mode="reflect"), weight) for x in (image, texture))
    values = ours.flatten(2).numpy()
    wanted = np.empty_like(values)  # numpy's sorts are ten times as fast as torch's on a CPU
    np.put_along_axis(wanted, values.argsort(2), np.sort(theirs.flatten(2).numpy(), 2), 2)
    change = F.conv_transpose2d(torch.from_numpy(wanted).view_as(ours) - ours, weight, padding=margin)
    return image + _STEP * 3 / _FILTERS * change  # each filter sees one direction of the three of a pixel's colour


def painting(rng: Rng, side: int) -> Pixels:
    """Brush strokes in a few colours along a smooth random field: uint8 RGB (side, side, 3)."""
    palette = rng.integers(0, 256, (5, 3))
    canvas = np.full((side, side, 3), palette[0], np.uint8)
    waves, phases = rng.uniform(0.5, 2.5, (2, 3)) * 2 * np.pi / side, rng.uniform(0, 2 * np.pi, 3)
    length, breadth = side * rng.uniform(0.03, 0.12), max(1, round(side * rng.uniform(0.006, 0.03)))
    starts = rng.uniform(0, side, (_STROKES, 2))
    angles = np.pi * np.sin(starts @ waves + phases).sum(axis=1)
    ends = starts + length * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    colours = np.clip(palette[rng.integers(1, 5, _STROKES)] + rng.integers(-25, 26, (_STROKES, 3)), 0, 255)
    for start, end, colour in zip(np.rint(starts * 16), np.rint(ends * 16), colours.tolist(), strict=True):
        cv2.line(canvas, start.astype(int), end.astype(int), colour, breadth, cv2.LINE_AA, 4)
    return canvas


def _tensor(pixels: Pixels) -> Tensor:
    import torch

    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
