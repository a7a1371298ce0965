"""A word over the middle of an image, as on the previews of picture agencies.

In the manner of ImageNet-W (Li et al. 2023), whose Chinese characters no font of a kept package has: its figures are
not to be compared with this one's.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clip_robustness.datasets.pixels import Pixels, Rng
from clip_robustness.registry import corruption

_OPACITY = (0.1, 0.2, 0.35, 0.5, 0.7)
"""By severity."""
_WORD = "SAMPLE"
_WIDTH = 0.8
"""Of the word, as a share of the image's."""


@corruption("watermark", source="in the manner of ImageNet-W, Li et al. 2023")
def watermark(image: Pixels, severity: int, rng: Rng) -> Pixels:
    """White letters in Aileron, Pillow's own font; nothing is random."""
    height, width = image.shape[:2]
    mask = Image.new("L", (width, height))
    font = ImageFont.load_default(_size(width))
    ImageDraw.Draw(mask).text((width / 2, height / 2), _WORD, 255, font, anchor="mm")
    share = _OPACITY[severity - 1] * np.asarray(mask, np.float32)[..., None] / 255
    return (image * (1 - share) + 255 * share).round().astype(np.uint8)


def _size(width: int) -> float:
    """Of letters that make the word as wide."""
    probe = ImageFont.load_default(100)
    return 100 * _WIDTH * width / probe.getlength(_WORD)
