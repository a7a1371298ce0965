"""Folders without class folders, whose labels stand in a table: ImageNet's validation images as they are unpacked.

`flat:FOLDER?labels=TABLE`. A table is Kaggle's `LOC_val_solution.csv`, the devkit's
`ILSVRC2012_validation_ground_truth.txt` beside its `meta.mat` or `map_clsloc.txt`, or any text with a file and its
class (key, name or number) a line, separated by commas, tabs or spaces. A column of classes alone is in the order of
ImageNet's numbered files. JSON is a list in that order, as ReaL's `real.json`, or `{file: class}`. Several classes of
an image are a list, `[3, 5]`, or wnids.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.clusters import existing
from clip_robustness.datasets.dataset import Dataset, Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.labels import Label
from clip_robustness.datasets.listing import by_ending, list_files
from clip_robustness.datasets.records import UNKNOWN, Records, labelled, read_json
from clip_robustness.datasets.vocabulary import is_number
from clip_robustness.errors import InputError
from clip_robustness.files import expanded

HOW = "?labels=LOC_val_solution.csv, the table of Kaggle, or another of files and classes"
_FILE_COLUMNS = ("imageid", "image_id", "filename", "file_name", "file", "image", "path", "name")
_CLASS_COLUMNS = (
    *("predictionstring", "wnid", "synset", "label", "class", "target", "category"),
    *("class_name", "classname", "label_name", "label_text"),
)
_NUMBERED = re.compile(r"ILSVRC2012_(?:val|test)_(\d{8})")
_WNIDS = re.compile(r"n\d{8}(?!\d)")
_IMAGENET = 1000
_SYNSETS = ("meta.mat", "map_clsloc.txt")

Labels = tuple[Label, ...]
"""Of an image: each is right."""


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
    named = [replace(sample, id=f"{space.keys[sample.label]}/{sample.id}") for sample in images.samples]
    return replace(images, samples=tuple(sorted(named, key=lambda sample: sample.id)))


def _labels(table: Path, files: Sequence[str]) -> Mapping[str, Labels]:
    """Path of an image -> its labels as they stand in the table."""
    rows = _rows(table)
    if all(len(row) == 1 for row in rows):
        return _in_order(table, [row[0] for row in rows], files)
    file_column, class_column = _columns(table, rows)
    if rows[0][file_column].lower() in _FILE_COLUMNS:
        rows = rows[1:]
    if short := [row for row in rows if len(row) <= max(file_column, class_column)]:
        raise InputError(f"{table}: a file and its class are expected in each line, not {' '.join(short[0])!r}")
    named: dict[str, str] = {}
    for row in rows:
        path, text = str(PurePosixPath(row[file_column].replace("\\", "/"))), row[class_column]
        if named.setdefault(path, text) != text:
            raise InputError(f"{table}: {path} has two classes, '{named[path]}' and '{text}'")
    found = {path: _label(text) for path, text in named.items()}
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
    header, *rows = _rows(table)
    place = header.index(existing(str(table), cluster, header))
    file_column, _ = _columns(table, [header, *rows])
    found = {str(PurePosixPath(row[file_column].replace("\\", "/"))): "".join(row[place : place + 1]) for row in rows}
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


def _rows(table: Path) -> list[list[str]]:
    if table.suffix == ".json":
        content = read_json(table)
        if not isinstance(content, dict | list) or not content:
            raise InputError(f"{table}: a list of classes, or files and their classes, are expected")
        table_rows = content.items() if isinstance(content, dict) else zip(content, strict=True)
        return [[cell if isinstance(cell, str) else json.dumps(cell) for cell in row] for row in table_rows]
    try:
        lines = [line for line in table.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table}: not a text file that can be read: {error}") from None
    if not lines:
        raise InputError(f"{table}: the table is empty")
    mark = next((mark for mark in ",\t;" if mark in lines[0].partition("[")[0]), "")
    rows = csv.reader(lines, delimiter=mark) if mark else (line.split(None, 1) for line in lines)
    return [[cell.strip() for cell in row] for row in rows]


def _columns(table: Path, rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Which columns have the file and the class; of several that have the class one of names, if they agree."""
    names = [name.lower() for name in rows[0]]
    file = next((names.index(name) for name in _FILE_COLUMNS if name in names), None)
    if file is None:
        return 0, 1
    known = [names.index(name) for name in _CLASS_COLUMNS if name in names]
    if not known and len(names) != 2:
        raise InputError(f"{table}: of the columns {', '.join(rows[0])} none is called {', '.join(_CLASS_COLUMNS[1:])}")
    if len(known) < 2:
        return file, known[0] if known else 1 - file
    cells = [[_label(row[column]) for column in known] for row in rows[1:] if len(row) > max(known)]
    texts = [n for n in range(len(known)) if any(isinstance(label, str) for row in cells for label in row[n])]
    chosen = (texts or [0])[0]
    for n, column in enumerate(known):
        pairs = {(row[n], row[chosen]) for row in cells}
        if len(pairs) > min(len({one for one, _ in pairs}), len({other for _, other in pairs})):
            raise InputError(
                f"{table}: the columns {rows[0][known[chosen]]} and {rows[0][column]} have other classes; remove one"
            )
    return file, known[chosen]


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
    return {file: _label(classes[n - 1]) for file, n in numbers.items() if 0 < n <= len(classes)}


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


def _label(text: str) -> Labels:
    """Kaggle's table has boxes after the wnids."""
    if text.startswith("["):
        try:
            return tuple(label for cell in ast.literal_eval(text) for label in _label(str(cell)))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return (text,)
    if _WNIDS.match(text):
        return tuple(dict.fromkeys(_WNIDS.findall(text)))
    return (int(text) if is_number(text) else text,)
