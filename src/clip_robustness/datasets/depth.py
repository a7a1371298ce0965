"""Images with more than 8 bits a sample, as 8-bit ones. Pillow cuts them off at 255 where it converts them."""

from __future__ import annotations

import numpy as np
from PIL import Image, TiffImagePlugin

_WHITE_IS_ZERO, _BITS = 262, 258
"""TIFF's tags: which end of the range is white, and how many bits a sample has."""
_DARKEST = 16
"""Levels of 256: under these nothing is seen. What ends there has 8, 10 or 12 bits in 16, or shows nothing."""


def eight_bits(image: Image.Image, deep: bool = False) -> Image.Image:
    """Grey images of 16-bit and float samples as 8-bit grey, scaled; others as they are.

    16-bit samples are cut to their upper 8 bits, as Pillow does with colour: `deep` images are such. Float samples are
    shares of white. Raises `ValueError` where the range that they are in can't be known, and for colours that Pillow
    can't make RGB of.
    """
    if image.mode == "LAB":
        raise ValueError("its colours are CIE L*a*b*; save it as RGB")
    if not image.mode.startswith(("I", "F")):
        if deep and np.asarray(image.convert("RGB")).max() < _DARKEST:
            raise ValueError(f"its 16-bit colours end under {256 * _DARKEST}, where 65535 is white: it would be black")
        return image
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode == "F":
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"its float values go from {low:g} to {high:g}, where 0 is black and 1 is white")
        levels = np.round(255 * values)
    else:
        bits = 12 if tags.get(_BITS) == (12,) else 16
        if image.mode == "I" and image.format not in ("PNG", "PPM"):
            raise ValueError("its values are signed or have 32 bits, and what is white among them is not known")
        high = values.max()
        if 0 < high < _DARKEST << (bits - 8):
            raise ValueError(f"its {bits}-bit values end at {high}, where {2**bits - 1} is white: it would be black")
        levels = values >> (bits - 8)
    levels = levels.astype(np.uint8)
    return Image.fromarray(255 - levels if tags.get(_WHITE_IS_ZERO) == 0 else levels)
