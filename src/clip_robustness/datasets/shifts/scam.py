"""SCAM: photos of objects with a handwritten word on a note (`scam`), with the word drawn by a program (`scam-synth`),
and with the note left empty (`scam-none`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from clip_robustness.datasets import huggingface
from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.errors import InputError
from clip_robustness.registry import shift

_COLUMNS = ("image", "type", "object_label", "attack_word", "id")


@shift(
    "scam",
    source="Westerhoff et al. 2025, SCAM, section 3",
    licence="CC BY-NC 4.0",
    about="objects with a written word, in pairs with and without it; hf:BLISS-e-V/SCAM?split=train",
    conditions={"scam-none": "NoSCAM", "scam": "SCAM", "scam-synth": "SynthSCAM"},
    compared_with={"scam": "scam-none", "scam-synth": "scam-none"},
    pair_by=r"_img_(.+)$",
    family={"scam": "adversarial", "scam-synth": "adversarial"},
    own_names=True,
    two_way=True,
    clustered=True,
    tables=True,
    images={"NoSCAM": 1162, "SCAM": 1162, "SynthSCAM": 1162},
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """The rows of one type of the published table, `hf:...` or a folder of its Parquet files; the classes are all of
    its objects and words. Photos of one object belong together. Raises `InputError` for a table without the columns."""
    source = place.removeprefix("hf:") if place.startswith("hf:") else f"{place}?split=train"
    table = huggingface.opened(data, source)
    if missing := [name for name in _COLUMNS if name not in table.rows.features]:
        raise InputError(f"{table.place} has no column '{missing[0]}'; SCAM's are {', '.join(_COLUMNS)}")
    types, objects, words, ids = (list(map(str, table.cells(name))) for name in _COLUMNS[1:])
    names = tuple(sorted({*objects, *words}))
    place_of = {name: i for i, name in enumerate(names)}
    chosen = [row for row, kind in enumerate(types) if kind == part]
    if not chosen:
        raise InputError(f"{table.place} has no rows of type {part}; it has {', '.join(sorted(set(types)))}")
    images, file = table.images("image"), Path(table.rows.cache_files[0]["filename"])
    samples = (
        Sample(
            ids[row],
            file,
            place_of[objects[row]],
            rival=place_of[words[row]],
            clusters=(objects[row],),
            content=partial(huggingface.content, images, row, "image"),
        )
        for row in chosen
    )
    of = ClassList(data, names, names, classes.prompts)
    return Dataset(data, tuple(sorted(samples, key=lambda sample: sample.id)), classes=of)
