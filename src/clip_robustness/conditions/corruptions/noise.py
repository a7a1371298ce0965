"""Noise corruptions of ImageNet-C. Each channel of each pixel is drawn on its own."""

from __future__ import annotations

import numpy as np

from clip_robustness.datasets.pixels import Pixels, Rng, to_pixels
from clip_robustness.registry import corruption


@corruption("gaussian_noise")
def gaussian_noise(image: Pixels, severity: int, rng: Rng) -> Pixels:
    return add_normal(image, (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1], rng)


@corruption("shot_noise")
def shot_noise(image: Pixels, severity: int, rng: Rng) -> Pixels:
    return photons(image, (60, 25, 12, 5, 3)[severity - 1], rng)


@corruption("impulse_noise")
def impulse_noise(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """Salt and pepper, as likely as each other."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    draws = rng.random(image.shape, dtype=np.float32)
    noisy = np.where(draws < share / 2, np.uint8(255), image)
    noisy[draws > 1 - share / 2] = 0
    return noisy


@corruption("speckle_noise")
def speckle_noise(image: Pixels, severity: int, rng: Rng) -> Pixels:
    factors = rng.standard_normal(image.shape, dtype=np.float32)
    factors *= np.float32((0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1])
    factors += 1
    factors *= image
    return to_pixels(factors)


def add_normal(image: Pixels, scale: float, rng: Rng) -> Pixels:
    """Additive normal noise; `scale` is its standard deviation for images in [0, 1]."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(255 * scale)
    noise += image
    return to_pixels(noise)


def photons(image: Pixels, full: int, rng: Rng) -> Pixels:
    """Poisson counts, `full` of them expected of a white pixel."""
    counts = rng.poisson((np.arange(256) / 255 * full)[image])
    return to_pixels(np.arange(full + 1) / full * 255)[np.minimum(counts, full)]
