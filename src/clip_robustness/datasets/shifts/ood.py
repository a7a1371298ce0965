"""Images of no class of the models (out of distribution), whatever they are: they are to be rejected."""

from __future__ import annotations

from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.listing import list_files
from clip_robustness.errors import InputError
from clip_robustness.registry import shift


@shift(
    "ood",
    source="Hendrycks & Gimpel 2017; Ming et al. 2022 (MCM)",
    licence="that of your images",
    about="images of no class, to be rejected by the confidence of 95% of the clean images",
    rejects=True,
    shown=1,
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """All images of a folder at any depth; the folders in it, such as Places and Textures, are groups."""
    folder = Path(place)
    check_folder(data, folder)
    files = list_files(folder).files
    if not files:
        raise InputError(f"data set '{data}': {folder} contains no images")
    groups = {file: (file.partition("/")[0],) if "/" in file else () for file in files}
    samples = tuple(Sample(file, folder / file, 0, groups=groups[file]) for file in files)
    return Dataset(data, samples, space)
