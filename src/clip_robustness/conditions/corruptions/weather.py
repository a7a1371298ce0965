"""Snow, frost, fog and spatter of ImageNet-C."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from clip_robustness.conditions.corruptions.blur import move, smooth
from clip_robustness.conditions.corruptions.frost import Texture, crystals, enlarged
from clip_robustness.datasets.pixels import Floats, Pixels, Rng, to_pixels
from clip_robustness.registry import corruption

_WATER = np.array([175, 238, 238])
_MUD = np.array([63, 42, 20])


@corruption("snow")
def snow(image: Pixels, severity: int, rng: Rng) -> Pixels:
    mean, spread, size, least, radius, sigma, keep = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes = snowflakes(image, mean, spread, size, least, rng)
    return snowed(image, flakes, keep, radius, sigma, rng.uniform(-135, -45))


def snowflakes(image: Pixels, mean: float, spread: float, size: float, least: float, rng: Rng) -> Floats:
    """Normal noise, enlarged `size` times, without what is fainter than `least`; at least as large as the image."""
    from scipy.ndimage import zoom

    height, width = (math.ceil(n / size) for n in image.shape[:2])
    layer = zoom(mean + spread * rng.standard_normal((height, width)), size, order=1)
    return np.where(layer < least, 0, np.minimum(layer, 1)).astype(np.float32)


def snowed(image: Pixels, flakes: Floats, keep: float, radius: int, sigma: float, degrees: float) -> Pixels:
    """Whiten the image to the share 1 - `keep`, and let the flakes fall, from both sides."""
    height, width = image.shape[:2]
    falling = np.rint(move(flakes, radius, sigma, degrees)[:height, :width] * 255)
    values = image.astype(np.float32)
    pale = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 127.5
    whitened = keep * values + (1 - keep) * np.maximum(values, pale)
    return to_pixels(whitened + (falling + falling[::-1, ::-1])[..., None])


@corruption("frost", textures=True)
def frost(image: Pixels, severity: int, rng: Rng, textures: Sequence[Texture] | None = None) -> Pixels:
    """Blend with a random part of a random texture; None: of our own."""
    keep, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width = image.shape[:2]
    textures = textures or crystals()
    texture = enlarged(textures[int(rng.integers(len(textures)))], height, width)
    top, left = rng.integers(texture.shape[0] - height), rng.integers(texture.shape[1] - width)
    layer = texture[top : top + height, left : left + width]
    return to_pixels(np.float32(keep) * image + np.float32(ice) * layer)


@corruption("fog")
def fog(image: Pixels, severity: int, rng: Rng) -> Pixels:
    thickness, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    height, width = image.shape[:2]
    clouds = _plasma(1 << (max(height, width) - 1).bit_length(), decay, rng)[:height, :width]
    brightest = image.max() / 255
    values = (clouds * (255 * thickness)).astype(np.float32)[..., None] + image
    values *= brightest / (brightest + thickness)
    return to_pixels(values)


@corruption("spatter")
def spatter(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """Drops of water, at severities 4 and 5 of mud."""
    mean, spread, sigma, least, amount = (
        (0.65, 0.3, 4, 0.69, 0.6),
        (0.65, 0.3, 3, 0.68, 0.6),
        (0.65, 0.3, 2, 0.68, 0.5),
        (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[severity - 1]
    # In double precision: thresholds follow.
    liquid = smooth(mean + spread * rng.standard_normal(image.shape[:2]), sigma)
    if severity < 4:
        return to_pixels(image + amount * _water(np.where(liquid < least, 0, liquid))[..., None] * _WATER)
    mud = smooth((liquid > least).astype(np.float64), amount)
    mud = np.where(mud < 0.8, 0, mud)[..., None]
    return to_pixels(image * (1 - mud) + mud * _MUD)


def _water(liquid: Floats) -> Floats:
    """Drops with lit edges: the liquid, weighted by an embossed map of the distance to its edges; at most 1."""
    levels = to_pixels(liquid * 255)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    rim = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    weighted = levels * cv2.blur(cv2.filter2D(rim, cv2.CV_8U, light), (3, 3)).astype(np.float32)
    return weighted / max(weighted.max(), 1)


def _plasma(side: int, decay: float, rng: Rng) -> NDArray[np.float64]:
    """Clouds in [0, 1] by the diamond-square algorithm on a torus; `side` is a power of two."""
    heights = np.zeros((side, side))
    step, reach = side, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        middles = heights[half::step, half::step]

        def wobbly(total: Floats, reach: float = reach) -> Floats:
            return total / 4 + reach * rng.uniform(-reach, reach, total.shape)

        rows = corners + np.roll(corners, -1, axis=0)
        middles[:] = wobbly(rows + np.roll(rows, -1, axis=1))
        pairs = corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = wobbly(middles + np.roll(middles, 1, axis=0) + pairs)
        pairs = corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = wobbly(middles + np.roll(middles, 1, axis=1) + pairs)
        step, reach = half, reach / decay
    heights -= heights.min()
    return heights / heights.max()
