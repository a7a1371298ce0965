"""ImageNet-P: sequences in which an image is perturbed a little more, frame by frame."""

from __future__ import annotations

from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, read_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.layouts import part_of
from clip_robustness.registry import shift


@shift("imagenet-p", conditions={})
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`<perturbation>/<wnid>/*.mp4`."""
    return read_folder(data, part_of(data, Path(place), part), classes, space, (".mp4",))
