"""The second check, on pixels: is one image a copy of the other, perhaps cut out of it, resized or repainted a little?

Embeddings of look-alikes are close, too: two photos of one bird on one branch. Their pixels do not fit over each other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from clip_robustness.datasets.pixels import Rng

Detail = NDArray[np.float32]

_SIDE = 64
_COARSE = (1.0, 0.94, 0.88, 0.82, 0.76, 0.7, 0.65, 0.6)
"""How much of the one image's height or width the other may be cut down to, at the steps that half the size
tolerates."""
_FINE = (1.03, 1.0, 0.97)
"""Steps around the best one, at full size."""
_HOPELESS = 0.6
"""What is less alike than that at half the size is not looked at again."""
_FINEST, _WIDEST = 0.7, 6.0
"""Standard deviations in pixels at full size: finer detail is lost to JPEG and resizing, and wider slopes are in many
pictures."""
_FLAT = 1e-3


class Small:
    """An image as `alike` takes it: grey, the longer side 64 px; what is made of it is kept for the next comparison."""

    def __init__(self, image: Image.Image) -> None:
        grey = cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2GRAY)
        scale = _SIDE / max(grey.shape)
        self._levels = [_resized(grey, [max(8, round(scale * side / by)) for side in grey.shape]) for by in (1, 2)]
        self._details: dict[tuple[int, ...], Detail] = {}

    def shape(self, level: int) -> tuple[int, int]:
        """Height and width at full (0) and half size (1)."""
        height, width = self._levels[level].shape
        return height, width

    def detail(self, level: int, shape: tuple[int, int]) -> Detail:
        """The image at this size, without what is too fine or too wide to tell copies by."""
        key = (level, *shape)
        if key not in self._details:
            image = _resized(self._levels[level], shape).astype(np.float32)
            fine, wide = (cv2.GaussianBlur(image, (0, 0), sigma / 2**level) for sigma in (_FINEST, _WIDEST))
            detail = np.asarray(fine - wide, np.float32)
            self._details[key] = detail if cv2.meanStdDev(detail)[1].item() >= _FLAT else np.zeros_like(detail)
        return self._details[key]


def alike(first: Small, second: Small) -> float:
    """The highest correlation of details, -1 to 1, over ways to lay one image into the other.

    Correlation does not see brightness and contrast. Mirrored and turned copies are not looked for.
    """
    ways = [(whole, part, scale) for whole, part in ((first, second), (second, first)) for scale in _COARSE]
    coarse = [_laid(whole, part, scale, level=1) for whole, part, scale in ways]
    best = int(np.argmax(coarse))
    if coarse[best] < _HOPELESS:
        return coarse[best]
    whole, part, scale = ways[best]
    return max(_laid(whole, part, min(1.0, scale * step), level=0) for step in _FINE)


def _laid(whole: Small, part: Small, scale: float, *, level: int) -> float:
    """Correlation at the best place of `part` in `whole`; 1 is the largest scale that fits. 0 without any detail."""
    room, size = whole.shape(level), part.shape(level)
    fits = scale * min(room[0] / size[0], room[1] / size[1])
    cut = part.detail(level, (max(4, int(fits * size[0] + 1e-6)), max(4, int(fits * size[1] + 1e-6))))
    if not cut.any():
        return 0.0
    found = cv2.matchTemplate(whole.detail(level, room), cut, cv2.TM_CCOEFF_NORMED)
    best = cv2.minMaxLoc(found)[1]
    return min(1.0, best) if np.isfinite(best) else 0.0


def _resized(image: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    if tuple(shape) == image.shape:
        return image
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _crop(image: Image.Image, rng: Rng) -> Image.Image:
    width, height = (max(2, round(side * rng.uniform(0.75, 0.95))) for side in image.size)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _jpeg(image: Image.Image, rng: Rng) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(20, 70)))
    return Image.open(buffer).convert("RGB")


def _resize(image: Image.Image, rng: Rng) -> Image.Image:
    scale = rng.uniform(0.35, 0.7)
    small = image.resize((max(2, round(image.width * scale)), max(2, round(image.height * scale))))
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _text(image: Image.Image, rng: Rng) -> Image.Image:
    image = image.copy()
    font: Any = ImageFont.load_default(size=max(6, round(min(image.size) * rng.uniform(0.06, 0.1))))
    place = (image.width * rng.uniform(0.02, 0.3), image.height * rng.choice([0.03, 0.88]))
    ImageDraw.Draw(image).text(place, "photo 2014", font=font, fill=("white", "black")[int(rng.integers(2))])
    return image


def _colour(image: Image.Image, rng: Rng) -> Image.Image:
    for kind in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = kind(image).enhance(rng.uniform(0.7, 1.3))
    tint = np.asarray(image, float) * rng.uniform(0.85, 1.15, 3)
    return Image.fromarray(tint.clip(0, 255).astype(np.uint8))


COPIES: dict[str, Callable[[Image.Image, Rng], Image.Image]] = {
    "crop": _crop,
    "jpeg": _jpeg,
    "resize": _resize,
    "text": _text,
    "colour": _colour,
}
"""What happens to pictures on their way through the web; to calibrate with."""


def copies(image: Image.Image, rng: Rng) -> Iterator[Image.Image]:
    """A near-duplicate of each kind, RGB."""
    image = image.convert("RGB")
    return (copy(image, rng) for copy in COPIES.values())
