"""ImageNet-C-bar: ten corruptions that are unlike those of ImageNet-C."""

from __future__ import annotations

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.shifts.imagenet_c import read_corrupted
from clip_robustness.registry import shift


@shift(
    "imagenet-c-bar",
    source="Mintun et al. 2021, On Interaction Between Augmentations and Corruptions",
    licence="MIT (of the code that made it)",
    corruptions=(
        "blue_noise_sample",
        "brownish_noise",
        "caustic_refraction",
        "checkerboard_cutout",
        "cocentric_sine_waves",
        "inverse_sparkles",
        "perlin_noise",
        "plasma_noise",
        "single_frequency_greyscale",
        "sparkles",
    ),
    images=50000,
    cropped=True,
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    return read_corrupted(data, place, space, classes, part)
