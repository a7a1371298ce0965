"""RTA-100: photos of objects with a note on which the name of another object is written."""

from __future__ import annotations

import re
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.listing import list_files
from clip_robustness.errors import InputError
from clip_robustness.registry import shift

_FILE = re.compile(r"label=(.+)_text=(.+)\.\w+")


@shift(
    "rta-100",
    source="Azuma & Matsui 2023, Defense-Prefix, section 5",
    licence="MIT",
    about="photos of objects with the name of another one on a note",
    family="adversarial",
    own_names=True,
    two_way=True,
    clustered=True,
    images=1000,
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`label=<object>_text=<word>.png`, at any depth; the classes are all objects and words. Raises `InputError` for an
    image that is called otherwise. Photos of one object belong together."""
    folder = Path(place)
    check_folder(data, folder)
    files = list_files(folder).files
    named = {file: _FILE.fullmatch(Path(file).name) for file in files}
    if strange := [file for file, found in named.items() if not found]:
        raise InputError(
            f"data set '{data}': {folder / strange[0]} should be called label=<object>_text=<word>, as in "
            "label=dog_text=cat.png"
        )
    pairs = {file: (found[1], found[2]) for file, found in named.items() if found}
    if not pairs:
        raise InputError(f"data set '{data}': {folder} contains no images called label=<object>_text=<word>")
    names = tuple(sorted({name for pair in pairs.values() for name in pair}))
    place_of = {name: i for i, name in enumerate(names)}
    samples = tuple(
        Sample(file, folder / file, place_of[label], rival=place_of[word], clusters=(label,))
        for file, (label, word) in pairs.items()
    )
    return Dataset(data, samples, classes=ClassList(data, names, names, classes.prompts))
