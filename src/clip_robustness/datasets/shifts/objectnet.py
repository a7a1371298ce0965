"""ObjectNet: objects in unusual rooms, rotations and viewpoints; ImageNet has 113 of its 313 classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, check_folder, read_folder
from clip_robustness.datasets.label_space import ClassSpace, facts
from clip_robustness.datasets.layouts import images_of
from clip_robustness.datasets.records import read_json
from clip_robustness.registry import shift


@shift(
    "objectnet",
    conditions={},
    border=2,
    mappings=("mappings/folder_to_objectnet_label.json", "mappings/objectnet_to_imagenet_1k.json"),
    in_full="all names",
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`images/<folder>/*.png` of the shared classes, the folders of the others are known and left alone; or all of
    them, labelled with ObjectNet's own names."""
    folder, published = Path(place), facts(data, classes)
    check_folder(data, folder)
    images, others = images_of(data, folder), published.get("other folders", [])
    if part:
        file = folder / "mappings" / "folder_to_objectnet_label.json"
        labels = read_json(file) if file.is_file() else {}
        keys = tuple(sorted(labels or (*published["classes"], *others)))
        names = tuple(labels.get(key, key.replace("_", " ")) for key in keys)
        known = ClassList(data, keys, names, classes.prompts)
        found = replace(read_folder(data, images, known), classes=known)
        kept = found.samples
    else:
        every = replace(space, keys=(*space.keys, *others), members=(*space.members, *((),) * len(others)))
        found = replace(read_folder(data, images, classes, every), space=space)
        kept = tuple(sample for sample in found.samples if sample.label < len(space))
    return replace(found, samples=tuple(replace(sample, id=f"images/{sample.id}") for sample in kept))
