"""Images as the synthetic shifts take and return them: uint8 RGB (height, width, 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_robustness.errors import InputError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]
Rng = np.random.Generator

MIN_SIDE = 32


def to_pixels(values: Floats) -> Pixels:
    """Clip to [0, 255] in place, and cut, not round, to whole grey levels, as the published code does."""
    values += 1e-3  # a level reached but for the rounding of float32 is reached
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def checked(image: NDArray[Any]) -> Pixels:
    """The image as uint8 RGB; float images in [0, 1] are rounded to grey levels.

    Raises `InputError` for another type or shape, floats outside [0, 1], NaN, and sides under 32 px.
    """
    if image.ndim != 3 or image.shape[2] != 3 or (image.dtype != np.uint8 and image.dtype.kind != "f"):
        raise InputError(
            f"an RGB image (height, width, 3), uint8 or float in [0, 1], is expected, not {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise InputError(f"an image of {width} x {height} px is too small; enlarge it to {MIN_SIDE} px a side or more")
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)  # OpenCV can't take every view
    if not (image.min() >= 0 and image.max() <= 1):  # NaN fails too
        raise InputError(
            f"float pixels from {image.min():g} to {image.max():g} are outside [0, 1]; divide by 255 or pass uint8"
        )
    return np.ascontiguousarray(np.rint(image * 255), np.uint8)


def squeezed(image: Image.Image, side: int) -> Pixels:
    """The whole image at (side, side), uint8 RGB."""
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
