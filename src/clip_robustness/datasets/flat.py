"""Folders without class folders, whose labels stand in a table: ImageNet's validation images as they are unpacked.

`flat:FOLDER?labels=TABLE`. A table is Kaggle's `LOC_val_solution.csv`, the devkit's
`ILSVRC2012_validation_ground_truth.txt` beside its `meta.mat` or `map_clsloc.txt`, or one of files and their classes
(key, name or number) as `label_tables` reads them. A column of classes alone is in the order of ImageNet's numbered
files, and so is a list in JSON, as ReaL's `real.json`. Several classes of an image are a list, `[3, 5]`, or wnids.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.clusters import existing
from clip_robustness.datasets.dataset import Dataset, Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.label_tables import Labels, columns_of, label_of, path_in, rows_of
from clip_robustness.datasets.listing import by_ending, list_files
from clip_robustness.datasets.records import UNKNOWN, Records, labelled
from clip_robustness.datasets.vocabulary import is_number
from clip_robustness.errors import InputError
from clip_robustness.files import expanded

HOW = "?labels=LOC_val_solution.csv, the table of Kaggle, or another of files and classes"
_NUMBERED = re.compile(r"ILSVRC2012_(?:val|test)_(\d{8})")
_IMAGENET = 1000
_SYNSETS = ("meta.mat", "map_clsloc.txt")


def read(data: str, place: str, space: ClassSpace, classes: ClassList, cluster: str = "") -> Dataset:
    """All images that the table names, under the ids that they have in class folders. `cluster` is the column of the
    table that says what belongs together.

    Raises `InputError` for a table that is missing, no such table or of other classes.
    """
    folder_text, _, table_text = place.partition("?labels=")
    folder = Path(folder_text)
    where = f"data set '{data}': flat:{folder}"
    if not table_text:
        raise InputError(f"{where} needs the labels of its images: write flat:{folder}{HOW}")
    check_folder(data, folder)
    tables = [expanded(table_text, beside) for beside in (folder, folder.parent)]
    table = next((file for file in tables if file.is_file()), tables[0])
    try:
        listed = list_files(folder)
        labels = _labels(table, listed.files)
        clusters = _clusters(table, cluster, listed.files) if cluster else {}
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    there = [file for file in listed.files if file in labels]
    unnamed = [file for file in listed.files if file not in labels]
    if not there:
        raise InputError(f"{where}: {table} names none of its {len(unnamed)} images (first: {', '.join(unnamed[:1])})")
    warnings = []
    if unnamed:
        warnings.append(f"{where}: {len(unnamed)} images are not in {table} and are left out (first: {unnamed[0]})")
    if others := [file for file in listed.others if folder / file != table]:
        warnings.append(f"{where}: {by_ending(others)}")
    found = tuple(labels[file] for file in there)
    if any(isinstance(label, int) for labels in found for label in labels) and not any(map(is_number, space.keys)):
        warnings.append(
            f"{where}: {table} has numbers, which are taken for places in the list of classes from 0, in ImageNet's of "
            "its sorted wnids, as timm and Caffe count them"
        )
    samples = tuple(Sample(file, folder / file, UNKNOWN, clusters=clusters.get(file, ())) for file in there)
    images = labelled(data, Records(str(table), samples, found, warnings=tuple(warnings)), space, classes)
    inside = {file for file in there if file.partition("/")[0] in space.keys}  # a table beside class folders
    named = [
        sample if sample.id in inside else replace(sample, id=f"{space.keys[sample.label]}/{sample.id}")
        for sample in images.samples
    ]
    return replace(images, samples=tuple(sorted(named, key=lambda sample: sample.id)))


def _labels(table: Path, files: Sequence[str]) -> Mapping[str, Labels]:
    """Path of an image -> its labels as they stand in the table."""
    rows = rows_of(table, files)
    if all(len(row) == 1 for row in rows):
        return _in_order(table, [row[0] for row in rows], files)
    file_column, class_column, header = columns_of(table, rows, files)
    rows = rows[header:]
    if short := [row for row in rows if len(row) <= max(file_column, class_column)]:
        raise InputError(f"{table}: a file and its class are expected in each line, not {' '.join(short[0])!r}")
    named: dict[str, str] = {}
    for row in rows:
        path, text = path_in(row[file_column]), row[class_column]
        if named.setdefault(path, text) != text:
            raise InputError(f"{table}: {path} has two classes, '{named[path]}' and '{text}'")
    found = {path: label_of(text) for path, text in named.items()}
    numbers = [label for labels in found.values() for label in labels if isinstance(label, int)]
    if numbers == list(range(1, len(rows) + 1)):
        raise InputError(f"{table}: it numbers the images and has no classes; take LOC_val_solution.csv")
    if numbers and min(numbers) > 0 and max(numbers) == _IMAGENET:
        raise InputError(
            f"{table}: its numbers go up to {_IMAGENET} and none is 0, so they may be the devkit's or places counted "
            "from 1; take a table of wnids, such as LOC_val_solution.csv"
        )
    return {file: found[path] for file, path in _named(table, list(named), files).items()}


def _clusters(table: Path, cluster: str, files: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """File -> what stands in the column of the table. Raises `InputError` where that is nothing."""
    header, *rows = rows_of(table, files)
    place = header.index(existing(str(table), cluster, header))
    file_column, *_ = columns_of(table, [header, *rows], files)
    found = {path_in(row[file_column]): "".join(row[place : place + 1]) for row in rows}
    if empty := [path for path, name in found.items() if not name]:
        raise InputError(f"{table}: column '{cluster}' is empty for {len(empty)} images (first: {empty[0]})")
    return {file: (found[path],) for file, path in _named(table, list(found), files).items()}


def _named(table: Path, paths: Sequence[str], files: Sequence[str]) -> Mapping[str, str]:
    """File -> what the table calls it: its path, without an ending that other files have, or without folders.

    Each row is for one file. Raises `InputError` where two could be meant.
    """
    known = set(paths)
    found = {file: file for file in files if file in known}
    for bare in (_without_ending, _stem):
        left, rows = {file: bare(file) for file in files if file not in found}, defaultdict(list)
        if not left:
            break
        for path in known.difference(found.values()):
            rows[bare(path)].append(path)
        times = Counter(left.values())
        for file, name in left.items():
            if len(matching := rows.get(name, [])) != 1:
                continue
            if times[name] > 1:
                other = next(one for one in left if one != file and left[one] == name)
                raise InputError(f"{table}: '{matching[0]}' could be {file} or {other}; write the path into the table")
            found[file] = matching[0]
    return found


def _without_ending(path: str) -> str:
    folders, slash, name = path.rpartition("/")
    return folders + slash + (name.rpartition(".")[0] or name)


def _stem(path: str) -> str:
    return _without_ending(path.rpartition("/")[2])


def _in_order(table: Path, classes: Sequence[str], files: Sequence[str]) -> Mapping[str, Labels]:
    """Of ImageNet's numbered files, a class a line. Numbers without a 0 are the devkit's, which has an order of its
    own."""
    numbers = {file: int(found[1]) for file in files if (found := _NUMBERED.fullmatch(PurePosixPath(file).stem))}
    if len(numbers) < len(files):
        other = next(file for file in files if file not in numbers)
        raise InputError(f"{table}: a class a line is for files called ILSVRC2012_val_00000001, not {other}")
    if all(is_number(text) and text != "0" for text in classes):
        wnids = _devkit_order(table)
        if unknown := [text for text in classes if int(text) not in wnids]:
            raise InputError(f"{table}: {unknown[0]} is no class of {len(wnids)} in the devkit's list beside it")
        classes = [wnids[int(text)] for text in classes]
    return {file: label_of(classes[n - 1]) for file, n in numbers.items() if 0 < n <= len(classes)}


def _devkit_order(table: Path) -> Mapping[int, str]:
    """The devkit's number of each class -> wnid. It is not the order of the sorted wnids."""
    file = next((file for name in _SYNSETS if (file := table.with_name(name)).is_file()), None)
    if file is None:
        raise InputError(
            f"{table}: its numbers are those of ImageNet's devkit, which are not places in the list of classes; put "
            f"{' or '.join(_SYNSETS)} of the devkit beside it"
        )
    try:
        if file.suffix == ".txt":
            rows = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
            return {int(row[1]): row[0] for row in rows}
        from scipy.io import loadmat

        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in loadmat(file, squeeze_me=True)["synsets"]}
    except Exception as error:  # of MATLAB's files many kinds
        raise InputError(f"{file}: not the devkit's list of classes: {error!r}") from None
