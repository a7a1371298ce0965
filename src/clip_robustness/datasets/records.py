"""What the readers of data sets have in common."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.labels import Label, naming, understood
from clip_robustness.errors import InputError

UNKNOWN = -1
"""The label of an sample whose own is not understood yet."""
_STRAY_ALLOWED = 0.01


@dataclass(frozen=True)
class Records:
    """What a source holds before its labels are understood: `labels` are what stands there, one for each sample.

    `classnames` are what the source calls its numbers, if it does; `place` is what to name in messages.
    """

    place: str
    samples: tuple[Sample, ...]
    labels: tuple[Label, ...]
    classnames: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def labelled(data: str, records: Records, space: ClassSpace, classes: ClassList) -> Dataset:
    """The samples with the labels of `space`.

    Labels that stand for no class are left out, counted and named. Raises `InputError` where they are many.
    """
    place = f"data set '{data}': {records.place}"
    meaning = understood(place, set(records.labels), naming(data, space, classes), records.classnames)
    pairs = list(zip(records.samples, records.labels, strict=True))
    samples = [replace(sample, label=meaning.label_of[label]) for sample, label in pairs if label in meaning.label_of]
    strays = [(sample, label) for sample, label in pairs if label in meaning.faults]
    warnings = [*records.warnings, *meaning.warnings]
    if not samples and not strays:
        raise InputError(f"{place} has no image of the {len(space)} classes")
    if strays:
        sample, label = strays[0]
        first = f"(first: {_shown(label, records.classnames)} of {sample.id}"
        first += f", {why})" if (why := meaning.faults[label]) else ")"
        if not samples or len(strays) > _STRAY_ALLOWED * len(pairs):
            raise InputError(
                f"data set '{data}': {len(strays)} of {len(pairs)} labels in {records.place} are outside its "
                f"{len(space)} classes {first}"
            )
        warnings.append(
            f"data set '{data}': {len(strays)} images with labels outside its {len(space)} classes are left out {first}"
        )
    if len(samples) + len(strays) < len(pairs):
        warnings.append(
            f"data set '{data}': {len(pairs) - len(samples) - len(strays)} images of classes that '{classes.name}' "
            "does not have are left out"
        )
    return Dataset(data, tuple(sorted(samples, key=lambda sample: sample.id)), space, warnings=tuple(warnings))


def _shown(label: Label, names: tuple[str, ...]) -> str:
    """For a message: 3, 3 called 'dog', 'dog', no label."""
    if isinstance(label, int) and 0 <= label < len(names):
        return f"{label} called {names[label]!r}"
    return "no label" if label is None else repr(label)


def read_json(file: Path) -> Any:
    """Raises `InputError` naming the file where it is missing or no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not a JSON file that can be read: {error}") from None


def optional(library: str, data: str, source: str) -> Any:
    """Import a library that only this kind of source needs. Raises `InputError` saying how to install it."""
    try:
        return importlib.import_module(library)
    except ImportError:
        raise InputError(f"data set '{data}': '{source}' needs the library {library}; pip install {library}") from None
