"""Typographic attacks: the name of a wrong class, written on the image several times in white.

As the benchmark's ImageNet-T and CIFAR-10-T, drawn on the fly. The model plays no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clip_robustness.conditions.context import Answers, Batch, Batches, Context, after
from clip_robustness.datasets.pixels import Pixels, Rng
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import predict, to_tensor
from clip_robustness.registry import attack

TIMES = (8, 4)
"""How often the word is written; 4 where 8 find no room."""
_HEIGHT = 1 / 14
"""Of the letters, of the image's side; less where a word is too long."""
_TRIES = 60


def wrong_word(names: Sequence[str], label: int, rng: Rng) -> int:
    """The position of a class with a single-word name other than the label's.

    Raises `InputError` where there is none.
    """
    single = [i for i, name in enumerate(names) if name.isalpha() and name.lower() != names[label].lower()]
    if not single:
        raise InputError("a typographic attack needs classes with single-word names; these have none")
    return int(rng.choice(single))


def typed(pixels: Pixels, word: str, rng: Rng) -> Pixels:
    """uint8 RGB (height, width, 3) with the word on it, 8 times, or 4 where there is not room enough."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    side = min(image.size)
    size = max(8, round(side * _HEIGHT))
    while size > 6 and draw.textlength(word, _font(size)) > side * 0.45:
        size -= 1
    for times in TIMES:
        if places := _places(image.size, draw.textbbox((0, 0), word, _font(size)), times, rng):
            for place in places:
                draw.text(place, word, fill="white", font=_font(size))
            return np.asarray(image)
    raise InputError(f"'{word}' does not fit {TIMES[-1]} times on an image of {image.width} x {image.height} px")


def _places(
    size: tuple[int, int], box: tuple[float, float, float, float], times: int, rng: Rng
) -> list[tuple[int, int]] | None:
    """Places whose boxes neither overlap nor leave the image; None where so many were not found."""
    left, top, right, bottom = (int(np.floor(v)) if i < 2 else int(np.ceil(v)) for i, v in enumerate(box))
    width, height = right - left, bottom - top
    if width > size[0] or height > size[1]:
        return None
    found: list[tuple[int, int]] = []
    for _ in range(times * _TRIES):
        x, y = int(rng.integers(0, size[0] - width + 1)), int(rng.integers(0, size[1] - height + 1))
        if all(abs(x - other) >= width or abs(y - above) >= height for other, above in found):
            found.append((x, y))
            if len(found) == times:
                return [(x - left, y - top) for x, y in found]
    return None


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Aileron, which is part of Pillow."""
    return ImageFont.load_default(size)


@attack(
    "typographic", access="black-box", runner="itself", eps=(), reads_names=True, passes=(2, 0), drawing=5,
    source="the benchmark's ImageNet-T",
)  # fmt: skip
def on_images(context: Context, batches: Batches) -> Iterator[Answers]:
    """`word`: whether the prediction is what is written."""
    victim = context.victim

    def answers(batch: Batch) -> Answers:
        names, written, words = victim.classes.names, [], []
        for sample, pixels in batch:
            rng = context.rng(sample)
            words.append(wrong_word(names, sample.label, rng))
            written.append(typed(pixels, names[words[-1]], rng))
        shown = to_tensor(np.stack(written), context.device)
        context.note([sample for sample, _ in batch], shown)
        clean, attacked = predict(victim, context.images(batch)), predict(victim.in_fp32(), shown)
        return after(batch, clean, attacked, [{"word": float(a == w)} for a, w in zip(attacked, words, strict=True)])

    return map(answers, batches)
