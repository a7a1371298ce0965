"""The image sets of the drawn world: labelled sets, and the image-caption pairs that `mini:clip` is pre-trained on.

Picture `i` of a set is a function of the set's name and `i` alone, so any part of any set can be drawn by itself.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from clip_robustness.mini.captions import caption
from clip_robustness.mini.objects import Rng
from clip_robustness.mini.world import CLASSES, COLOURS, STYLES, Scene, draw, sample_scene, with_words
from clip_robustness.models.embedded import SIZE

FLAWS = ("blurred", "noisy", "dark", "bright", "small", "jpeg", "grey")
"""Ways in which a picture on the web is bad."""

OVERLAPPING: dict[str, int] = {"imagenet-v2": 4, "imagenet-sketch": 4}
"""Test set -> k: every k-th of its pictures has a near-duplicate in the pre-training set, on purpose, as on the web."""

_OVERLAP_SOURCE = 960
"""So many pictures of each of those sets are candidates for a near-duplicate."""


def _rng(set_name: str, index: int) -> Rng:
    return np.random.default_rng([zlib.crc32(set_name.encode()), index])


def _fresh_draw(rng: Rng, label: int) -> Scene:
    """ImageNet-V2's counterpart: the same kind of picture, taken by others: smaller, less centred, more clutter."""
    scene = sample_scene(rng, label)
    colour = str(rng.choice(list(COLOURS))) if rng.random() < 0.5 else scene.colour
    return replace(
        scene,
        colour=colour,
        scale=scene.scale * rng.uniform(0.75, 1.0),
        x=scene.x * 1.6,
        y=scene.y * 1.6,
        turn=scene.turn * 1.6,
        clutter=scene.clutter + int(rng.integers(0, 4)),
    )


def _rendition(rng: Rng, label: int) -> Scene:
    """ImageNet-R's counterpart: art of many kinds, sketches apart, which have a set of their own."""
    return sample_scene(rng, label, str(rng.choice([s for s in STYLES if s not in ("photo", "sketch")])))


def _unusual(rng: Rng, label: int) -> Scene:
    """ObjectNet's counterpart: any rotation, other viewpoints, anywhere in the picture, no typical colours."""
    scene = sample_scene(rng, label)
    return replace(
        scene,
        colour=str(rng.choice([c for c in COLOURS if c != scene.second])),
        scale=rng.uniform(0.45, 0.8),
        x=rng.uniform(-0.35, 0.35),
        y=rng.uniform(-0.35, 0.35),
        turn=rng.uniform(0, 1),
        squeeze=rng.uniform(0.7, 1.4),
        shear=rng.normal(0, 0.2),
    )


_SCENES: dict[str, Callable[[Rng, int], Scene]] = {
    "train": sample_scene,
    "imagenet": sample_scene,
    "imagenet-v2": _fresh_draw,
    "imagenet-sketch": lambda rng, label: sample_scene(rng, label, "sketch"),
    "imagenet-r": _rendition,
    "imagenet-a": _fresh_draw,
    "objectnet": _unusual,
}
"""Set name -> how a scene of a label is drawn up; names of test sets are those of the data sets they stand for."""

VIDEO_SETS = ("imagenet-vid-robust", "ytbb-robust")
TEST_SETS = (*(name for name in _SCENES if name != "train"), *VIDEO_SETS)


def picture(set_name: str, index: int) -> tuple[np.ndarray, int]:
    """Picture `index` of a labelled set, uint8 RGB (SIZE, SIZE, 3), and its label; labels go round the classes."""
    rng, label = _rng(set_name, index), index % len(CLASSES)
    return draw(_SCENES[set_name](rng, label), rng), label


def sign(index: int) -> np.ndarray:
    """A picture of a word alone, which shows no object of any class."""
    rng = _rng("sign", index)
    return draw(with_words(replace(sample_scene(rng, 0), label=None), str(rng.choice(CLASSES))), rng)


def frame(set_name: str, video: int, label: int, company: int | None, offset: int) -> np.ndarray:
    """The frame of a video so many frames after its anchor: one scene, in which object and camera move evenly.

    `company` is the class of an object in the background, which moves on its own.
    """
    rng = _rng(set_name, video)

    def moved(scene: Scene) -> Scene:
        x, y, turn, growth = rng.normal(0, (0.018, 0.018, 0.006, 0.012)) * offset
        return replace(
            scene, x=scene.x + x, y=scene.y + y, turn=scene.turn + turn, scale=scene.scale * float(np.exp(growth))
        )

    scene = moved(sample_scene(rng, label))
    if company is not None:
        behind = sample_scene(rng, company)
        side = -1 if scene.x > 0 else 1
        scene = replace(scene, scale=scene.scale * 0.8, company=moved(replace(behind, scale=0.4, x=side * 0.5, y=-0.5)))
    return draw(scene, _rng(f"drawing of {set_name}", video))


def near_duplicate(set_name: str, index: int) -> tuple[np.ndarray, str]:
    """A picture of a test set as it would be found on the web, re-encoded or cut a little, with a caption."""
    original, label = picture(set_name, index)
    rng = _rng(f"near-duplicate of {set_name}", index)
    image = Image.fromarray(original)
    if rng.random() < 0.5:
        edge = int(rng.integers(1, 4))
        image = image.crop((edge, edge, SIZE - edge, SIZE - edge)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = np.asarray(_jpeg(image, int(rng.integers(70, 95))), float) * rng.uniform(0.92, 1.08)
    scene = _SCENES[set_name](_rng(set_name, index), label)
    return pixels.clip(0, 255).astype(np.uint8), caption(scene, None, rng)


def overlapping_indices(set_name: str) -> range:
    """Which pictures of a test set have a near-duplicate in the pre-training set."""
    return range(0, _OVERLAP_SOURCE, OVERLAPPING[set_name]) if set_name in OVERLAPPING else range(0)


def pretraining_pair(index: int) -> tuple[np.ndarray, str]:
    """Pair `index` of the pre-training set: a picture and its caption."""
    for name in OVERLAPPING:
        members = overlapping_indices(name)
        if index < len(members):
            return near_duplicate(name, members[index])
        index -= len(members)
    rng = _rng("pretrain", index)
    style = "photo" if rng.random() < 0.5 else str(rng.choice(STYLES[1:]))
    label = int(rng.integers(len(CLASSES)))
    scene = sample_scene(rng, label, style)
    scene = replace(scene, scale=scene.scale * rng.uniform(0.8, 1.05), turn=scene.turn * 1.5)
    kind = rng.random()
    if kind < 0.06:
        scene = with_words(replace(scene, label=None), CLASSES[label])
    elif kind < 0.2:
        word = CLASSES[label] if rng.random() < 1 / 3 else str(rng.choice(CLASSES))
        scene = with_words(scene, *[word] * int(rng.integers(1, 4)))
    pixels = draw(scene, rng)
    flaw = None
    if style == "photo" and scene.label is not None and rng.random() < 0.35:
        flaw = str(rng.choice(FLAWS))
        pixels = _flawed(pixels, flaw, rng)
    return pixels, caption(scene, flaw, rng)


def _flawed(pixels: np.ndarray, flaw: str, rng: Rng) -> np.ndarray:
    image, values = Image.fromarray(pixels), pixels.astype(float)
    if flaw == "blurred":
        return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.0))))
    if flaw == "small":
        side = int(rng.integers(18, 34))
        return np.asarray(image.resize((side, side), Image.Resampling.BOX).resize((SIZE, SIZE)))
    if flaw == "jpeg":
        return np.asarray(_jpeg(image, int(rng.integers(5, 30))))
    if flaw == "grey":
        return np.asarray(image.convert("L").convert("RGB"))
    if flaw == "noisy":
        values = values + rng.normal(0, rng.uniform(10, 40), values.shape)
    elif flaw == "dark":
        values = values * rng.uniform(0.25, 0.6)
    else:
        values = values + rng.uniform(40, 100)
    return values.clip(0, 255).astype(np.uint8)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)
