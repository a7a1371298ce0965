"""CounterAnimal: animals before the background that they are usual in (`easy`), and before another one (`hard`)."""

from __future__ import annotations

import re
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.layouts import folders
from clip_robustness.datasets.listing import list_files
from clip_robustness.datasets.records import UNKNOWN, Records
from clip_robustness.errors import InputError
from clip_robustness.registry import shift

_GROUPS = {"easy": "common-", "hard": "counter-"}
_ARCHIVE = "LAION-final"
_CLASS = re.compile(r"(\d+) (.+)")


@shift(
    "counteranimal",
    source="Wang et al. 2024, A Sober Look at the Robustness of CLIPs to Spurious Features",
    about="animals of 45 classes before usual (easy) and unusual (hard) backgrounds, and their gap",
    conditions={"counteranimal-easy": "easy", "counteranimal-hard": "hard"},
    compared_with={"counteranimal-hard": "counteranimal-easy"},
    images={"easy": 7174, "hard": 5926},
    shown=45,
    numbers="imagenet",
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Records:
    """`<number> <name>/common-<background>/*` and `.../counter-<background>/*`; the number is the place in ImageNet's
    list. Raises `InputError` for a folder that has no such pair."""
    folder = Path(place)
    check_folder(data, folder)
    folder = folder / _ARCHIVE if (folder / _ARCHIVE).is_dir() else folder
    samples, labels, said = [], [], {}
    for inside in folders(folder):
        named = _CLASS.fullmatch(inside.name)
        groups = [one for one in folders(inside) if one.name.startswith(_GROUPS[part])]
        if not named or len(groups) != 1:
            raise InputError(
                f"data set '{data}': {inside} should be called <number> <name> and hold a folder {_GROUPS['easy']}... "
                f"and a folder {_GROUPS['hard']}...; name the folder that {_ARCHIVE} was unpacked to"
            )
        said[int(named[1])] = named[2]
        for file in list_files(groups[0]).files:
            id = f"{inside.name}/{groups[0].name}/{file}"
            samples.append(Sample(id, groups[0] / file, UNKNOWN, groups=(groups[0].name.partition("-")[2],)))
            labels.append((int(named[1]),))
    if not samples:
        raise InputError(f"data set '{data}': {folder} has no folders <number> <name>/{_GROUPS[part]}... with images")
    return Records(str(folder), tuple(samples), tuple(labels), said=said)
