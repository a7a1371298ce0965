"""What the readers of data sets have in common."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.labels import Label, Meaning, Naming, naming, understood
from clip_robustness.errors import InputError

UNKNOWN = -1
"""The label of an sample whose own is not understood yet."""
_STRAY_ALLOWED = 0.01


@dataclass(frozen=True)
class Records:
    """What a source holds before its labels are understood: `labels` are what stands there for each sample, any of
    which is right; none, where the source says that no class is.

    `classnames` are what the source calls its numbers, if it does; `place` is what to name in messages. `said`: what
    stands beside numbers that have no names, and `mend` what to do where it says otherwise.
    """

    place: str
    samples: tuple[Sample, ...]
    labels: tuple[tuple[Label, ...], ...]
    classnames: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    said: Mapping[int, str] = field(default_factory=dict)
    mend: str = ""


def labelled(data: str, records: Records, space: ClassSpace, classes: ClassList) -> Dataset:
    """The samples with the labels of `space`.

    Samples without a label, and those of which one stands for no class, are left out, counted and named. Raises
    `InputError` where the latter are many, and where a list is not of labels.
    """
    place = f"data set '{data}': {records.place}"
    called = naming(data, space, classes)
    meaning = understood(place, set(chain.from_iterable(records.labels)), called, records.classnames)
    _check_said(place, records, meaning, called)
    samples, strays, unlabelled, others = [], [], [], 0
    for sample, labels in zip(records.samples, records.labels, strict=True):
        found = dict.fromkeys(meaning.label_of[label] for label in labels if label in meaning.label_of)
        if faults := [label for label in labels if label in meaning.faults]:
            strays.append((sample, faults[0]))
        elif not labels:
            unlabelled.append(sample)
        elif found:
            _check_list(place, sample, labels, len(found) == len(space))
            first, *also = found
            samples.append(replace(sample, label=first, also=tuple(also)))
        else:
            others += 1
    warnings = [*records.warnings, *meaning.warnings]
    if not samples and not strays:
        raise InputError(f"{place} has no image of the {len(space)} classes")
    if strays:
        sample, label = strays[0]
        first_of = f"(first: {_shown(label, records.classnames)} of {sample.id}"
        first_of += f", {why})" if (why := meaning.faults[label]) else ")"
        if not samples or len(strays) > _STRAY_ALLOWED * len(records.samples):
            raise InputError(
                f"data set '{data}': {len(strays)} of {len(records.samples)} labels in {records.place} are outside its "
                f"{len(space)} classes {first_of}"
            )
        warnings.append(
            f"data set '{data}': {len(strays)} images with labels outside its {len(space)} classes are left out "
            f"{first_of}"
        )
    if unlabelled:
        warnings.append(
            f"data set '{data}': {len(unlabelled)} images that have no label in {records.place} are left out (first: "
            f"{unlabelled[0].id})"
        )
    if others:
        warnings.append(
            f"data set '{data}': {others} images of classes that '{classes.name}' does not have are left out"
        )
    if several := sum(bool(sample.also) for sample in samples):
        warnings.append(
            f"data set '{data}': {several} of {len(samples)} images have several labels, any of which counts as right"
        )
    return Dataset(data, tuple(sorted(samples, key=lambda sample: sample.id)), space, warnings=tuple(warnings))


def _check_list(place: str, sample: Sample, labels: tuple[Label, ...], is_all: bool) -> None:
    """Raises `InputError` for what lists a number for each class, and for what any prediction would fit."""
    if len(labels) > 1 and (is_all or len(set(labels)) < len(labels)):
        what = "all classes" if is_all else "repeated values"
        raise InputError(
            f"{place}: the list of {sample.id} has {what}, {str(list(labels))[:40]}; the classes that are right are "
            "expected, each once, not a number for each class"
        )


def said_of(labels: Sequence[tuple[Label, ...]], cells: Sequence[object]) -> dict[int, str]:
    """What the cells of another column call each number; nothing of those that have two names."""
    names: dict[int, set[str]] = {}
    for row, cell in zip(labels, cells, strict=True):
        texts = cell if isinstance(cell, list) else [cell]
        for label, text in zip(row, texts, strict=False):
            if isinstance(label, int) and isinstance(text, str) and len(row) == len(texts):
                names.setdefault(label, set()).add(text)
    return {number: found.pop() for number, found in names.items() if len(found) == 1}


def _check_said(place: str, records: Records, meaning: Meaning, called: Naming) -> None:
    """Raises `InputError` where names beside the numbers mean other classes than the numbers do."""
    numbers, names = list(records.said), list(records.said.values())
    found = called.vocabulary.find(names)
    sure = [(n, name, min(f)) for n, name, f in zip(numbers, names, found, strict=True) if len(f) == 1]
    other = [(n, name) for n, name, position in sure if meaning.label_of.get(n, position) != position]
    if 2 * len(other) > len(sure):
        number, name = other[0]
        raise InputError(
            f"{place}: the labels are numbers without names, and {number} is called '{name}' beside it, which is "
            f"another class than number {number} of the list; {records.mend}"
        )


def _shown(label: Label, names: tuple[str, ...]) -> str:
    """For a message: 3, 3 called 'dog', 'dog', no label."""
    if isinstance(label, int) and 0 <= label < len(names):
        return f"{label} called {names[label]!r}"
    return "no label" if label is None else repr(label)


def read_json(file: Path) -> Any:
    """Raises `InputError` naming the file where it is missing or no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not a JSON file that can be read: {error}") from None


def optional(library: str, data: str, source: str) -> Any:
    """Import a library that only this kind of source needs. Raises `InputError` saying how to install it."""
    try:
        return importlib.import_module(library)
    except ImportError:
        raise InputError(f"data set '{data}': '{source}' needs the library {library}; pip install {library}") from None
