"""ImageNet-Hard: images of several test sets over ImageNet's classes that models get wrong whichever way they look."""

from __future__ import annotations

from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, read_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.registry import shift


@shift(
    "imagenet-hard",
    source="Taesiri et al. 2023, ImageNet-Hard",
    licence="MIT",
    about="several labels an image; hf:taesiri/imagenet-hard?split=validation",
    images=10980,
    numbers="imagenet",
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """A copy in class folders; the published table, with a list of labels an image, is read by `hf:`."""
    return read_folder(data, Path(place), classes, space)
