"""PUG: ImageNet: rendered objects of which one factor at a time is varied, as the world, the texture or the light."""

from __future__ import annotations

import csv
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.listing import list_files
from clip_robustness.datasets.records import UNKNOWN, Records, read_json
from clip_robustness.errors import InputError, nearest
from clip_robustness.registry import shift

_TABLE, _CLASSES = "labels_pug_imagenet.csv", "class_to_imagenet_idx.json"
_FILE, _LABEL = "filename", "character_label"


@shift(
    "pug-imagenet",
    source="Bordes et al. 2023, PUG",
    licence="CC BY-NC 4.0, not to train generative models",
    about="rendered objects of 151 classes; right is any of ImageNet's classes that the object has",
    images=88328,
    shown=176,
    numbers="imagenet",
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Records:
    """The published table with a line an image, and the authors' list of what its 151 labels are among ImageNet's
    classes. Raises `InputError` where either is missing, or has not the other's labels."""
    folder = Path(place)
    check_folder(data, folder)
    for name, where in ((_TABLE, "of the archive"), (_CLASSES, "of PUG_ImageNet in github.com/facebookresearch/PUG")):
        if not (folder / name).is_file():
            raise InputError(f"data set '{data}': {folder} has no {name}; put the one {where} there")
    places = read_json(folder / _CLASSES)
    if not isinstance(places, dict) or not all(isinstance(numbers, list) and numbers for numbers in places.values()):
        raise InputError(f"data set '{data}': {folder / _CLASSES}: label -> places in ImageNet's list are expected")
    rows = _rows(data, folder / _TABLE)
    if unknown := sorted({row[_LABEL] for row in rows} - places.keys()):
        raise InputError(
            f"data set '{data}': {folder / _TABLE}: '{unknown[0]}' is no label of {_CLASSES}; "
            f"{nearest(unknown[0], places)}"
        )
    there = frozenset(list_files(folder).files)
    kept = {row[_FILE]: row[_LABEL] for row in rows if row[_FILE] in there}
    if not kept:
        raise InputError(f"data set '{data}': {folder} has none of the {len(rows)} images of {_TABLE}")
    samples = tuple(Sample(file, folder / file, UNKNOWN) for file in kept)
    return Records(str(folder / _TABLE), samples, tuple(tuple(places[label]) for label in kept.values()))


def _rows(data: str, table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"data set '{data}': {table} can't be read: {error}") from None
    if not rows or not all(row.get(_FILE) and row.get(_LABEL) for row in rows):
        raise InputError(f"data set '{data}': {table}: a {_FILE} and a {_LABEL} are expected in each line")
    return rows
