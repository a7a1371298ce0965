"""Textures for the frost corruption: ice crystals drawn by this module, or the published pictures from a folder.

The published images were blended with photographs of frost, which can't be shipped. Ours are fern crystals: stems that
branch at 60 degrees, as ice does, with grain and haze. The levels of each colour are those of the photographs, and so
are the shares of fine and coarse structure, and how contrast varies from place to place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from clip_robustness.datasets.dataset import read_image
from clip_robustness.datasets.pixels import Floats, Pixels, Rng
from clip_robustness.errors import InputError

_PUBLISHED = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
_SHARES = (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1)
_BRIGHT = ((55, 138, 189, 204, 216, 241, 253), (56, 140, 193, 209, 221, 245, 255), (60, 146, 202, 218, 231, 250, 255))
_LOOKS = (  # levels of red, green, blue that these shares of the photograph's pixels lie below; number of stems
    (((15, 31, 57, 74, 95, 150, 201), (99, 116, 137, 148, 160, 190, 230), (115, 134, 155, 166, 176, 202, 235)), 40),
    (_BRIGHT, 60),
    (_BRIGHT, 90),
    (((15, 69, 120, 138, 155, 218, 251), (24, 84, 135, 153, 170, 234, 255), (31, 92, 147, 165, 183, 249, 255)), 60),
    (((14, 34, 79, 107, 140, 233, 255), (25, 45, 91, 119, 151, 238, 255), (36, 57, 104, 131, 161, 243, 255)), 40),
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
            textures.append(Texture(np.asarray(read_image(folder / name).convert("RGB"))))
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


def _draw(rng: Rng, levels: Sequence[Sequence[int]], stems: int) -> Texture:
    ice = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    tips = rng.uniform((0, 0), (_WIDTH, _HEIGHT), (stems, 2))
    _grow(ice, tips, rng.uniform(0, 2 * np.pi, stems), rng.uniform(80, 250, stems), rng)
    grain = _unit(cv2.GaussianBlur(rng.standard_normal(ice.shape, np.float32), (0, 0), 0.7))
    detail = (_unit(ice.astype(np.float32)) + 0.6 * grain) * np.exp(0.2 * _clouds(rng, 35))
    relief = _unit(detail) + 0.7 * _clouds(rng, 150)
    bounds = np.quantile(relief, _SHARES)
    colours = [np.interp(relief, bounds, of_colour).round() for of_colour in levels]
    return Texture(np.stack(colours, axis=2).astype(np.uint8))


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
