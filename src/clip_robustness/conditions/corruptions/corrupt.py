"""ImageNet-C: common corruptions of an image at five severities (Hendrycks & Dietterich 2019, parameters of its code).

Applied after the model's own resize and crop, as the published files are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from clip_robustness.conditions.corruptions import blur, digital, noise, weather
from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.datasets.pixels import Pixels, Rng, checked
from clip_robustness.errors import InputError, nearest

_CORRUPTIONS: dict[str, Callable[..., Pixels]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": digital.saturate,
    "elastic_transform_imagecorruptions": digital.elastic_transform_imagecorruptions,
}
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
BENCHMARK = tuple(_CORRUPTIONS)[:15]
"""The corruptions that mCE is about."""


def corrupt(
    image: NDArray[Any], name: str, severity: int, rng: Rng, frost_textures: Sequence[Texture] | None = None
) -> Pixels:
    """Apply one corruption to an RGB image (height, width, 3), uint8 or float in [0, 1]; returns uint8.

    `rng` is used by the random ones alone. `frost_textures` (`frost.read_textures`) take the place of our own.
    Raises `InputError` for an unknown name, a severity outside 1-5, a side under 32 px, another type or range.
    """
    if name not in _CORRUPTIONS:
        raise InputError(f"corruption '{name}' is unknown; {nearest(name, _CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise InputError(f"severity {severity} does not exist; it goes from 1 to 5")
    textures = [frost_textures] if name == "frost" else []
    return _CORRUPTIONS[name](checked(image), severity, rng, *textures)


def corrupt_batch(
    images: Sequence[NDArray[Any]],
    name: str,
    severity: int,
    rngs: Sequence[Rng],
    frost_textures: Sequence[Texture] | None = None,
    threads: int | None = None,
) -> list[Pixels]:
    """`corrupt` on several images at once, each with its own generator: an image's result is the same in any batch.

    `threads` None: one a core. Raises `InputError` as `corrupt` does.
    """

    def one(image: NDArray[Any], rng: Rng) -> Pixels:
        return corrupt(image, name, severity, rng, frost_textures)

    if len(images) != len(rngs):
        raise InputError(f"{len(images)} images need as many random generators, not {len(rngs)}")
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return list(pool.map(one, images, rngs))
