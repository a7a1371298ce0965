"""ImageNet-C: common corruptions of an image at five severities (Hendrycks & Dietterich 2019, parameters of its code).

Each takes and returns a uint8 RGB image (height, width, 3), after the model's own resize and crop, as the published
files are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, nearest

Pixels = NDArray[np.uint8]
Rng = np.random.Generator


def gaussian_noise(image: Pixels, severity: int, rng: Rng) -> Pixels:
    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(scale)
    return _to_pixels(image / np.float32(255) + noise)


def contrast(image: Pixels, severity: int, rng: Rng) -> Pixels:
    factor = np.float32((0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1])
    values = image / np.float32(255)
    means = values.mean(axis=(0, 1), keepdims=True)
    return _to_pixels((values - means) * factor + means)


_CORRUPTIONS: dict[str, Callable[[Pixels, int, Rng], Pixels]] = {
    "gaussian_noise": gaussian_noise,
    "contrast": contrast,
}


def corrupt(image: Pixels, name: str, severity: int, rng: Rng) -> Pixels:
    """Apply one corruption. `rng` is used by the random ones alone.

    Raises `InputError` for an unknown name, a severity outside 1-5 or an image that is not uint8 RGB.
    """
    if name not in _CORRUPTIONS:
        raise InputError(f"corruption '{name}' is unknown; {nearest(name, _CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise InputError(f"severity {severity} does not exist; it goes from 1 to 5")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"a uint8 RGB image is expected, not {image.dtype} {image.shape}")
    return _CORRUPTIONS[name](image, severity, rng)


def _to_pixels(values: NDArray[np.float32]) -> Pixels:
    """[0, 1] -> uint8, clipped, truncated as the original does."""
    return (values.clip(0, 1) * 255).astype(np.uint8)
