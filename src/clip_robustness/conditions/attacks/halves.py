"""The halves of a data set, each of which a universal perturbation is crafted on for the other. Light to import."""

from __future__ import annotations

from dataclasses import replace

from clip_robustness.datasets.dataset import Dataset, Sample, image_rng, subsample

_CRAFTED_ON = 256
"""Images at most, of each half."""


def crafted_on(images: Dataset, seed: int) -> list[Sample]:
    """What it is crafted on: of each half so many images, class by class."""
    halves = (replace(images, samples=tuple(s for s in images.samples if half_of(s) == half)) for half in (0, 1))
    return [sample for half in halves for sample in subsample(half, _CRAFTED_ON, seed).samples]


def half_of(sample: Sample) -> int:
    """0 or 1, by its id alone."""
    return int(image_rng(0, "universal", sample.id).integers(2))
