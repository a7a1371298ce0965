"""Blur corruptions of ImageNet-C, and what the other corruptions need of blurring and zooming."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from clip_robustness.datasets.pixels import Floats, Pixels, Rng, to_pixels
from clip_robustness.registry import corruption

_ZOOMS = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


@corruption("gaussian_blur")
def gaussian_blur(image: Pixels, severity: int, rng: Rng) -> Pixels:
    return to_pixels(smooth(image, (1, 2, 3, 4, 6)[severity - 1]))


@corruption("defocus_blur")
def defocus_blur(image: Pixels, severity: int, rng: Rng) -> Pixels:
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    return to_pixels(cv2.filter2D(image, cv2.CV_32F, _disk(radius, soft)))


@corruption("glass_blur")
def glass_blur(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """Blur, displace pixels locally, blur again.

    The published code means to swap neighbours, but its swap goes through views and only copies: each pixel, from the
    bottom right to the top left, takes the present value of a neighbour. The same is done here, for all at once: who
    ends up with whose value is a forest of references, which is followed by doubling.
    """
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    height, width = image.shape[:2]
    count = height * width
    places = np.arange(count).reshape(height, width)
    moving = places[height - reach : reach : -1, width - reach : reach : -1].ravel()
    moves = np.zeros(count, bool)
    moves[moving] = True
    old = np.arange(count, 2 * count)
    origin = places.ravel()
    for _ in range(rounds):
        right, down = rng.integers(-reach, reach, (len(moving), 2)).T
        taken = moving + down * width + right
        # Nodes below `count` stand for a pixel's new value, the others for its old one, where references end.
        leads = np.concatenate([old, old])
        leads[moving] = np.where((taken > moving) & moves[taken], taken, taken + count)
        while not np.array_equal(further := leads[leads], leads):
            leads = further
        origin = origin[leads[:count] - count]
    blurred = to_pixels(smooth(image, sigma)).reshape(count, 3)
    return to_pixels(smooth(blurred[origin].reshape(image.shape), sigma))


@corruption("motion_blur")
def motion_blur(image: Pixels, severity: int, rng: Rng) -> Pixels:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return to_pixels(move(image.astype(np.float32), radius, sigma, rng.uniform(-45, 45)))


@corruption("zoom_blur")
def zoom_blur(image: Pixels, severity: int, rng: Rng) -> Pixels:
    stop, step = _ZOOMS[severity - 1]
    factors = np.arange(1, stop, step)
    height, width = image.shape[:2]
    values = image.astype(np.float32)
    total = values.copy()
    for factor in factors:
        crop = centre(values, factor)
        scales = [(n - 1) / (round(n * factor) - 1) for n in crop.shape[:2]]
        to_source = np.array([[scales[1], 0, 0], [0, scales[0], 0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        total += cv2.warpAffine(crop, to_source, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return to_pixels(total / (len(factors) + 1))


def smooth(image: NDArray[np.uint8] | Floats, sigma: float) -> Floats:
    """Gaussian blur cut off at four sigma, edges repeated; float64 stays float64, all else gives float32."""
    kernel = cv2.getGaussianKernel(2 * int(4 * sigma + 0.5) + 1, sigma)
    depth = cv2.CV_64F if image.dtype == np.float64 else cv2.CV_32F
    return cv2.sepFilter2D(image, depth, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def move(image: Floats, radius: int, sigma: float, degrees: float) -> Floats:
    """Motion blur after ImageMagick: whole-pixel steps in one direction, weighted by half a Gaussian, edges repeated.

    Steps that would leave an image smaller than the way are left out.
    """
    height, width = image.shape[:2]
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = math.radians(degrees)
    down = np.ceil(steps * math.sin(angle) - 0.5).astype(int)
    right = np.ceil(steps * math.cos(angle) - 0.5).astype(int)
    inside = np.logical_and.accumulate((abs(down) < height) & (abs(right) < width))
    reach = 2 * radius + 1
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    total = np.zeros_like(image)
    for weight, y, x in zip(weights[inside] / weights.sum(), down[inside] + reach, right[inside] + reach, strict=True):
        total = cv2.scaleAdd(padded[y : y + height, x : x + width], weight, total, dst=total)
    return total


def centre(image: Floats, zoom: float) -> Floats:
    """The part in the middle that fills the image when it is enlarged by `zoom`."""
    height, width = (math.ceil(n / zoom) for n in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


@lru_cache
def _disk(radius: int, soft: float) -> NDArray[np.float32]:
    grid = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    return cv2.GaussianBlur(disk / disk.sum(), (side, side), soft)
