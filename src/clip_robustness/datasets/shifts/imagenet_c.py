"""ImageNet-C, and what else is published at the 224 px that models see: resizing to 256 px and cropping would cut off
margins."""

from __future__ import annotations

from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, read_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.layouts import part_of
from clip_robustness.registry import shift


@shift("imagenet-c", conditions={}, cropped=True)
@shift("stylized-imagenet", conditions={}, cropped=True)
def read_corrupted(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`<corruption>/<severity>/<wnid>/*`, also a level deeper; of a set without parts `<wnid>/*`."""
    return read_folder(data, part_of(data, Path(place), part), classes, space)
