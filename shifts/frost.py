"""Textures for the frost corruption: ice crystals drawn by this module, or the published pictures from a folder.

The published images were blended with photographs of frost, which can't be shipped. Ours are fern crystals: stems that
branch at 60 degrees, as ice does, with grain and haze, so that the mean colour, the contrast, the shares of fine and
coarse structure in it, and its variation from place to place are those of the photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from models.errors import InputError
from shifts.pixels import Floats, Pixels, Rng, to_pixels

_PUBLISHED = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
_LOOKS = (  # mean red, green, blue; standard deviation; number of stems
    ((78, 149, 166), 18, 40),
    ((201, 205, 214), 22, 60),
    ((196, 204, 216), 22, 90),
    ((138, 153, 165), 29, 60),
    ((112, 123, 135), 43, 40),
)
_HEIGHT, _WIDTH = 480, 640


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture of frost, uint8 RGB (height, width, 3). Hashed by identity, so that enlarged copies can be kept."""

    pixels: Pixels


@lru_cache
def crystals() -> tuple[Texture, ...]:
    """Our own textures, always the same five."""
    return tuple(_draw(np.random.default_rng(i), *look) for i, look in enumerate(_LOOKS))


def read_textures(folder: Path) -> tuple[Texture, ...]:
    """The published pictures, frost1.png to frost6.jpg, from a folder.

    The sixth has to be there but is left out: the published code draws among the first five alone.
    Raises `InputError` where one is missing or can't be decoded.
    """
    textures = []
    for name in _PUBLISHED:
        try:
            textures.append(Texture(np.asarray(Image.open(folder / name).convert("RGB"))))
        except OSError:
            raise InputError(
                f"{folder / name} is missing or not an image; the frost folder needs {', '.join(_PUBLISHED)}"
            ) from None
    return tuple(textures[:5])


@lru_cache(maxsize=16)
def enlarged(texture: Texture, height: int, width: int) -> Pixels:
    """The texture, a tenth larger than itself or than what covers an image of this size."""
    have = texture.pixels.shape
    scale = 1.1 * max(1.0, height / have[0], width / have[1])
    size = int(np.ceil(have[1] * scale)), int(np.ceil(have[0] * scale))
    return cv2.resize(texture.pixels, size, interpolation=cv2.INTER_CUBIC)


def _draw(rng: Rng, mean: tuple[int, int, int], spread: float, stems: int) -> Texture:
    ice = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    tips = rng.uniform((0, 0), (_WIDTH, _HEIGHT), (stems, 2))
    _grow(ice, tips, rng.uniform(0, 2 * np.pi, stems), rng.uniform(80, 250, stems), rng)
    grain = _unit(cv2.GaussianBlur(rng.standard_normal(ice.shape, np.float32), (0, 0), 0.7))
    detail = (_unit(ice.astype(np.float32)) + 0.6 * grain) * np.exp(0.3 * _clouds(rng, 35))
    relief = _unit(_unit(detail) + 0.7 * _clouds(rng, 150))
    return Texture(to_pixels(np.array(mean) + spread * relief[..., None]))


def _grow(ice: Pixels, starts: Floats, angles: Floats, lengths: Floats, rng: Rng, level: int = 0) -> None:
    """Draw curved branches (n,) from `starts` (n, 2), twigs first, so that the brighter stems lie on top."""
    steps = 24 >> level
    bends = angles[:, None] + rng.normal(0, 0.06, (len(angles), steps)).cumsum(axis=1)
    strides = np.stack([np.cos(bends), np.sin(bends)], axis=-1) * (lengths / steps)[:, None, None]
    paths = starts[:, None] + strides.cumsum(axis=1)
    if level < 2:
        left = (lengths[:, None] * np.linspace(1, 0.1, steps)).ravel()
        for side in (-np.pi / 3, np.pi / 3):
            twigs = left * rng.uniform(0.15, 0.4, left.size)
            _grow(ice, paths.reshape(-1, 2), bends.ravel() + side, twigs, rng, level + 1)
    lines = np.rint(np.concatenate([starts[:, None], paths], axis=1) * 16).astype(np.int32)
    cv2.polylines(ice, list(lines), False, (255, 190, 120)[level], 2 - min(level, 1), cv2.LINE_AA, 4)


def _clouds(rng: Rng, size: int) -> Floats:
    """Smooth noise with structure of about `size` pixels, drawn at a sixteenth of the resolution."""
    coarse = rng.standard_normal((_HEIGHT // 16, _WIDTH // 16), np.float32)
    return _unit(
        cv2.resize(cv2.GaussianBlur(coarse, (0, 0), size / 16), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    )


def _unit(values: Floats) -> Floats:
    return (values - values.mean()) / values.std()
