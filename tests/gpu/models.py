"""Models without data, and images for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image, ImageFilter

from clip_robustness import models
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.models.classifier import Classifier, predict, to_tensor
from tests.gpu.rows import Plan

CLASSES = class_list("cifar10")


def loaded(plan: Plan, device: torch.device, folder: Path, options: str = "") -> Iterator[Classifier]:
    """One after the other, as a GPU may not have room for all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not plan.models:
            yield from (models.load(f"mini:{kind}{f'?{options}' if options else ''}", class_list("mini"), device)
                        for kind in ("supervised", "clip"))  # fmt: skip
        for name in plan.models:
            file = folder / f"{name}.pt"
            if not file.exists():
                torch.manual_seed(0)
                torch.save(open_clip.create_model(name).state_dict(), file)
            more = f"&{options}" if options else ""
            yield models.load(f"open_clip:{name}@{file}?quick_gelu=false&prompts=plain{more}", CLASSES, device)


def photos(classes: ClassList, count: int, folder: Path) -> Dataset:
    """JPEGs of 500 x 375, about 100 kB, as ImageNet's are."""
    rng, place = np.random.default_rng(0), folder / "photos"
    place.mkdir(exist_ok=True)
    samples = []
    for i in range(count):
        file = place / f"{i}.jpg"
        if not file.exists():
            noise = Image.fromarray(rng.integers(0, 256, (375, 500, 3), np.uint8))
            noise.filter(ImageFilter.GaussianBlur(1.2)).save(file, quality=92)
        samples.append(Sample(f"{i}.jpg", file, i % len(classes)))
    return Dataset("imagenet", tuple(samples))


def labelled(classifier: Classifier, images: Dataset) -> Dataset:
    """As the model sees them: an image that is wrong when clean is not attacked."""
    device = classifier.mean.device
    found = []
    for start in range(0, len(images), 32):
        block = images.samples[start : start + 32]
        pixels = np.stack([np.asarray(classifier.geometry(sample.image())) for sample in block])
        found += [
            replace(sample, label=label)
            for sample, label in zip(block, predict(classifier, to_tensor(pixels, device)), strict=True)
        ]
    return replace(images, samples=tuple(found))
