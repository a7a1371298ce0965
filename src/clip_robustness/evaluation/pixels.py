"""From an image on disk to the pixels that a model sees under a condition, kept in memory for what follows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_robustness.conditions.condition import OF_PLUGINS, Condition
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.conditions.corruptions.promises import corrupted
from clip_robustness.conditions.perturbations import perturb
from clip_robustness.conditions.stylized import stylize
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.datasets.mp4 import read_video
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.evaluation.kept import Kept, geometry_key
from clip_robustness.models.classifier import Classifier

_LARGER = 8 / 7
"""Sequences are made from images whose shorter side is so much larger than the frames: 256 px for 224."""


@dataclass
class PixelSource:
    """Pixels of a condition's images. Clean images are kept for the conditions that follow, changed ones for the other
    models under the same condition, so that an image is decoded and corrupted once in a run, as far as memory goes."""

    seed: int
    kept: Kept
    frost_textures: Sequence[Texture] | None = None

    def made_with(self, condition: Condition) -> str:
        """What the pixels depend on beside the images, the condition and the seed."""
        if plugin := condition.registered:
            return plugin.version
        if self.frost_textures is None or condition.name != "imagenet-c" or condition["corruption"] != "frost":
            return ""
        digest = hashlib.sha256()
        for texture in self.frost_textures:
            digest.update(texture.pixels.tobytes())
        return digest.hexdigest()[:16]

    def of(self, condition: Condition, classifier: Classifier) -> Callable[[Sample], Pixels]:
        """A function from an sample to uint8 RGB (side, side, 3), or (frames, side, side, 3) for a sequence.

        It raises `OSError` for an image that can't be decoded. Threads may call it.
        """
        self.kept.begin(condition)
        side = classifier.image_size
        known = self.clean(classifier)

        def changed(sample: Sample) -> Pixels:
            if condition.name == "imagenet-p-disk":
                return np.stack([_whole(Image.fromarray(frame), side) for frame in read_video(sample.path)])
            if condition.name == "imagenet-p":
                return self._sequence(condition, sample, side)
            return self._changed_image(condition, sample, known(sample))

        if condition.is_sequence or condition.name in ("imagenet-c", "stylized-local", OF_PLUGINS):
            key = condition, geometry_key(classifier.geometry), side
            return lambda sample: self._once((*pixels_key(sample), *key), lambda: changed(sample))
        return known

    def clean(self, classifier: Classifier) -> Callable[[Sample], Pixels]:
        """The same for images as they are."""
        key = geometry_key(classifier.geometry), classifier.image_size

        def clean(sample: Sample) -> Pixels:
            image = sample.image()
            if sample.cropped and image.width == image.height:
                return _whole(image, classifier.image_size)
            return np.asarray(classifier.geometry(image))

        return lambda sample: self._once((*pixels_key(sample), *key), lambda: clean(sample), clean=True)

    def _sequence(self, condition: Condition, sample: Sample, side: int) -> Pixels:
        name, difficulty = str(condition["perturbation"]), int(condition["difficulty"])
        image, rng = (
            larger(sample.image(), round(side * _LARGER)),
            image_rng(self.seed, f"imagenet-p {name}", sample.id),
        )
        return perturb(image, name, rng, side=side, difficulty=difficulty)

    def _changed_image(self, condition: Condition, sample: Sample, pixels: Pixels) -> Pixels:
        if condition.name == "stylized-local":
            return stylize(pixels, image_rng(self.seed, condition.name, sample.id))
        name, severity = str(condition["corruption"]), int(condition["severity"])
        if plugin := condition.registered:
            return corrupted(plugin, pixels, severity, image_rng(self.seed, f"corruption {name}", sample.id))
        rng = image_rng(self.seed, f"imagenet-c {name}", sample.id)
        return corrupt(pixels, name, severity, rng, self.frost_textures)

    def _once(self, key: Hashable, make: Callable[[], Pixels], *, clean: bool = False) -> Pixels:
        if (known := self.kept.get(key)) is not None:
            return known
        pixels = make()
        self.kept.put(key, pixels, clean=clean)
        return pixels


def _whole(image: Image.Image, side: int) -> Pixels:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def pixels_key(sample: Sample) -> tuple[Hashable, ...]:
    """What the pixels of an image depend on, beside the geometry."""
    return (sample.path, sample.stamp, sample.id, sample.border, sample.cropped)


def to_tensor(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 (..., height, width, 3) -> float (..., 3, height, width) in [0, 1]."""
    return torch.tensor(pixels, device=device).movedim(-1, -3).float() / 255


def larger(image: Image.Image, shorter: int) -> Pixels:
    """The whole image with this shorter side, uint8 RGB."""
    scale = shorter / min(image.size)
    size = max(shorter, round(image.width * scale)), max(shorter, round(image.height * scale))
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
