"""Readers of data sets by the prefix of their source, ours and others' by one registration."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.records import Records, labelled
from clip_robustness.errors import InputError
from clip_robustness.registry import Registered, dataset


@dataset("flat", form="FOLDER?labels=TABLE", about="images in one folder, and a table of their labels", columns=True)
def read_flat(data: str, place: str, space: ClassSpace, classes: ClassList, column: str = "") -> Dataset:
    from clip_robustness.datasets import flat

    return flat.read(data, place, space, classes, column)


@dataset("wds", form="SHARDS", about="WebDataset shards, as wds:/data/{0..9}.tar")
def read_shards(data: str, place: str, space: ClassSpace, classes: ClassList) -> Records:
    from clip_robustness.datasets import webdataset

    return webdataset.read(data, place)


@dataset("hf", form="NAME?split=SPLIT", about="a table on the Hugging Face hub or in a folder", columns=True)
def read_table(data: str, place: str, space: ClassSpace, classes: ClassList, column: str = "") -> Records:
    from clip_robustness.datasets import huggingface

    return huggingface.read(data, place, column)


def read(reader: Registered, data: str, place: str, space: ClassSpace, classes: ClassList, **more: str) -> Dataset:
    """What a reader finds, labelled. Raises `InputError` where one of others fails, or gives what is no data set."""
    if not reader.version:
        return _labelled(reader.function(data, place, space, classes, **more), data, space, classes)
    function, where = reader.function, f"data set '{data}': {reader.name}:{place}"
    try:
        images = _labelled(function(data, place, space, classes, **more), data, space, classes)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where}: {type(error).__name__}: {error}; it is read by {reader.origin}") from error
    if fault := _fault(images, space):
        raise InputError(f"{where}: {reader.origin} gives {fault}")
    samples = tuple(sorted(images.samples, key=lambda sample: sample.id))
    of = None if images.classes else images.space or space
    return replace(images, name=data, samples=samples, space=of, reader=reader.version)


def _labelled(found: Dataset | Records, data: str, space: ClassSpace, classes: ClassList) -> Dataset:
    return labelled(data, found, space, classes) if isinstance(found, Records) else found


def _fault(images: object, space: ClassSpace) -> str:
    """What the suite can't go on with, '' for nothing."""
    if not isinstance(images, Dataset):
        return f"a {type(images).__name__}; return a Dataset or Records"
    if not images.samples:
        return "no images"
    count, ids = len(images.classes or images.space or space), [sample.id for sample in images.samples]
    if wrong := [sample for sample in images.samples if not all(0 <= label < count for label in sample.accepted)]:
        return f"{wrong[0].id} the label {wrong[0].label}; labels are places in its {count} classes"
    twice = next((id for id, count in Counter(ids).items() if count > 1), None)
    return f"several images one id (first: {twice})" if twice is not None else ""
