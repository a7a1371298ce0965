"""ImageNet-C: common corruptions of an image at five severities (Hendrycks & Dietterich 2019, parameters of its code).

Applied after the model's own resize and crop, as the published files are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from clip_robustness import registry
from clip_robustness.conditions.condition import SEVERITIES
from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.conditions.corruptions.promises import corrupted
from clip_robustness.conditions.source import Source
from clip_robustness.datasets.pixels import Pixels, Rng, checked
from clip_robustness.errors import InputError


def of_source(source: Source) -> Pixels:
    """The corruption of a condition, on an image as a model crops it. Raises `InputError` as `corrupted` does."""
    found = source.condition.registered
    assert found is not None
    return corrupted(found, checked(source.clean()), int(source.condition["severity"]), source.rng, source.textures)


def corrupt(
    image: NDArray[Any], name: str, severity: int, rng: Rng, frost_textures: Sequence[Texture] | None = None
) -> Pixels:
    """Apply one corruption to an RGB image (height, width, 3), uint8 or float in [0, 1]; returns uint8.

    `rng` is used by the random ones alone. `frost_textures` (`frost.read_textures`) take the place of our own.
    Raises `InputError` for an unknown name, a severity outside 1-5, a side under 32 px, another type or range.
    """
    found = registry.find("corruption", name)
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} does not exist; it goes from 1 to 5")
    return corrupted(found, checked(image), severity, rng, frost_textures)


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
