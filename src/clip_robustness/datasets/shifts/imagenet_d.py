"""ImageNet-D: objects that a diffusion model painted, of unusual background, texture or material."""

from __future__ import annotations

from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.listing import list_files
from clip_robustness.datasets.records import UNKNOWN, Records, read_json
from clip_robustness.errors import InputError, nearest
from clip_robustness.registry import shift

_TABLE = Path(__file__).with_name("imagenet_d.json")


@shift(
    "imagenet-d",
    source="Zhang et al. 2024, ImageNet-D",
    licence="MIT",
    about="objects painted by a diffusion model; right is any of ImageNet's classes that the object has",
    conditions={
        "imagenet-d-background": "background",
        "imagenet-d-texture": "texture",
        "imagenet-d-material": "material",
    },
    shown=125,
    numbers="imagenet",
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Records:
    """`<part>/<object>/*`, of 113 objects. Raises `InputError` for a folder that is none of them."""
    folder = Path(place) / part
    check_folder(data, folder)
    places = read_json(_TABLE)["classes"]
    files = [file for file in list_files(folder).files if "/" in file]
    objects = [file.partition("/")[0] for file in files]
    if unknown := sorted(set(objects) - set(places)):
        raise InputError(
            f"data set '{data}': {folder / unknown[0]} is none of its {len(places)} objects; "
            f"{nearest(unknown[0], places)}"
        )
    samples = tuple(Sample(f"{part}/{file}", folder / file, UNKNOWN) for file in files)
    return Records(str(folder), samples, tuple(tuple(places[name]) for name in objects))
