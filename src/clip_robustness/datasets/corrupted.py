"""Published files of corrupted images in ImageNet-C's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, read_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.layouts import part_of


def read_corrupted(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`<corruption>/<severity>/<wnid>/*`, also a level deeper; the files are the 224 px that models see."""
    images = read_folder(data, part_of(data, Path(place), part), classes, space)
    return replace(images, samples=tuple(replace(sample, cropped=True) for sample in images.samples))
