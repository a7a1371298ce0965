"""Colour, geometry and compression: the digital corruptions of ImageNet-C, and `brightness`."""

from __future__ import annotations

from functools import lru_cache, reduce

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_robustness.datasets.pixels import Floats, Pixels, Rng, to_pixels
from clip_robustness.registry import corruption

_GREYS = np.arange(256) / 255


@corruption("brightness")
def brightness(image: Pixels, severity: int, rng: Rng) -> Pixels:
    return brighter(image, (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1])


def brighter(image: Pixels, change: float) -> Pixels:
    """Add to the value of HSV, hue and saturation kept: scales a pixel by a factor that its largest channel decides."""
    largest = reduce(np.maximum, cv2.split(image))
    return _brightness_table(change)[largest[..., None].astype(np.intp) << 8 | image]


@corruption("saturate")
def saturate(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """Scale and shift the saturation of HSV, hue and value kept. A grey's hue is taken as red, as in the original."""
    factor, shift = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[severity - 1]
    channels = cv2.split(image)
    largest, smallest = reduce(np.maximum, channels), reduce(np.minimum, channels)
    ratio = _saturation_table(factor, shift)[largest.astype(np.intp) << 8 | smallest]
    values = largest[..., None] - (largest[..., None] - image) * ratio[..., None]
    values[..., 1:] -= (shift * largest * (largest == smallest))[..., None]
    return to_pixels(values)


@corruption("contrast")
def contrast(image: Pixels, severity: int, rng: Rng) -> Pixels:
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    means = np.array(cv2.mean(image)[:3]) / 255
    table = to_pixels(((_GREYS[:, None] - means) * factor + means) * 255)
    return cv2.LUT(image, table[None])


@corruption("elastic_transform")
def elastic_transform(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """A random affine map, then a smooth random field, as in the published files.

    Distances are those of the published code at 224 px, in proportion to the shorter side. Severities 1 and 2 move
    more than the others: from 3 on the field is rougher instead.
    """
    share = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))[severity - 1]
    height, width = image.shape[:2]
    strength, sigma, reach = (244 / 224 * min(height, width) * part for part in share)  # 244: their slip, kept
    middle, arm = np.array([height // 2, width // 2]), min(height, width) // 3
    corners = (middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
    moved = corners + rng.uniform(-reach, reach, (3, 2)).astype(np.float32)
    affine = cv2.getAffineTransform(corners, moved)
    values = image.astype(np.float32)
    warped = cv2.warpAffine(values, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return _displace(warped, 1, (sigma, sigma), strength, rng)


@corruption("elastic_transform_imagecorruptions", source="Michaelis et al. 2019, their package imagecorruptions")
def elastic_transform_imagecorruptions(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """The milder transform of the `imagecorruptions` package, to compare with figures that were made with it."""
    height, width = image.shape[:2]
    strength = (12.5, 16.25, 21.25, 25.0, 30.0)[severity - 1]
    return _displace(image.astype(np.float32), 0.005 * height, (0.01 * height, 0.01 * width), strength, rng)


@corruption("pixelate")
def pixelate(image: Pixels, severity: int, rng: Rng) -> Pixels:
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image.shape[:2]
    size = int(width * share), int(height * share)
    whole = Image.fromarray(image)
    if width % size[0] or height % size[1]:
        small = np.asarray(whole.resize(size, Image.Resampling.BOX))
    else:  # the same in less time: a resize goes one way, rounds, and goes the other
        small = np.asarray(whole.reduce((width // size[0], 1)).reduce((1, height // size[1])))
    rows, columns = _nearest(small.shape[0], height), _nearest(small.shape[1], width)
    return small.take(columns, axis=1).take(rows, axis=0)


@corruption("jpeg_compression")
def jpeg_compression(image: Pixels, severity: int, rng: Rng) -> Pixels:
    quality = (25, 18, 15, 10, 7)[severity - 1]
    _, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB))


def _displace(image: Floats, reach: float, sigmas: tuple[float, float], strength: float, rng: Rng) -> Pixels:
    """Displacements, uniform in +-`reach` px, smoothed with `sigmas` (vertical, horizontal) and scaled."""
    from scipy.fft import dctn, idctn

    height, width = image.shape[:2]
    response = _response(height, sigmas[0])[:, None] * _response(width, sigmas[1]) * strength

    def field() -> NDArray[np.float32]:
        draws = rng.uniform(-reach, reach, (height, width)).astype(np.float32)
        return idctn(dctn(draws, overwrite_x=True) * response, overwrite_x=True)

    flags = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP
    return to_pixels(cv2.remap(image, field(), field(), flags, borderMode=cv2.BORDER_REFLECT))


@lru_cache
def _nearest(size: int, target: int) -> NDArray[np.intp]:
    """Indices that enlarge `size` to `target`, summed up step by step so that ties fall as they do in Pillow."""
    step = size / target
    return np.cumsum([step / 2, *[step] * (target - 1)]).astype(np.intp)


@lru_cache
def _response(size: int, sigma: float) -> NDArray[np.float32]:
    """What a Gaussian, cut off at three sigma, with mirrored edges, does to each cosine of the DCT: it scales it.

    That makes the time independent of sigma, which exceeds the image at severity 1.
    """
    reach = int(3 * sigma + 0.5)
    phases = np.outer(np.arange(size), np.arange(-reach, reach + 1)) * np.pi / size
    return (np.cos(phases) @ cv2.getGaussianKernel(2 * reach + 1, sigma)[:, 0]).astype(np.float32)


@lru_cache
def _brightness_table(change: float) -> Pixels:
    """(65536,): new grey level for `largest * 256 + level`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = _GREYS / _GREYS[:, None] * np.minimum(_GREYS + change, 1)[:, None]
    scaled[0] = change  # black becomes grey
    return to_pixels(scaled * 255).ravel()


@lru_cache
def _saturation_table(factor: float, shift: float) -> NDArray[np.float32]:
    """(65536,): new by old saturation for `largest * 256 + smallest`; 1 where there is no colour."""
    with np.errstate(divide="ignore", invalid="ignore"):
        old = 1 - _GREYS / _GREYS[:, None]
        ratio = np.minimum(old * factor + shift, 1) / old
    return np.where(old > 0, ratio, 1).astype(np.float32).ravel()
