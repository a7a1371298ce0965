"""One picture of every corruption at every severity:
python -m clip_robustness.conditions.corruptions.gallery PHOTO docs/corruptions.jpg"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from clip_robustness.conditions.benchmark import CORRUPTIONS, CORRUPTIONS_OF_MCE
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.datasets.dataset import image_rng, read_image
from clip_robustness.files import argument

_SIDE, _TILE, _LABEL = 224, 120, 14


def gallery(photo: Image.Image) -> Image.Image:
    """Corruptions of the photo's central square at 224 px, a row each, severities 1 to 5 from left to right."""
    image = np.asarray(ImageOps.fit(photo.convert("RGB"), (_SIDE, _SIDE), Image.Resampling.BICUBIC))
    sheet = Image.new("RGB", (5 * _TILE, len(CORRUPTIONS) * (_TILE + _LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(CORRUPTIONS):
        top = row * (_TILE + _LABEL)
        draw.text((2, top), name + " (extra)" * (name not in CORRUPTIONS_OF_MCE), fill="black")
        for severity in range(1, 6):
            corrupted = corrupt(image, name, severity, image_rng(0, f"imagenet-c {name}", "gallery"))
            tile = Image.fromarray(corrupted).resize((_TILE, _TILE), Image.Resampling.BOX)
            sheet.paste(tile, ((severity - 1) * _TILE, top + _LABEL))
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=argument)
    parser.add_argument("target", type=argument)
    arguments = parser.parse_args()
    gallery(read_image(arguments.photo)).save(arguments.target, quality=80, optimize=True)
