"""Tables of files and their classes, in the forms that people have: rows of cells, and which columns are meant."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from clip_robustness.datasets.labels import Label
from clip_robustness.datasets.records import read_json
from clip_robustness.datasets.vocabulary import NAMED, NUMBERED, OTHERWISE, is_number, whole
from clip_robustness.errors import InputError

FILE_COLUMNS = (
    *("imageid", "image_id", "filename", "file_name", "filepath", "file_path", "file", "image_path", "image"),
    *("img", "path", "id", "name"),
)
_CLASS_COLUMNS = ("predictionstring", *NAMED, *NUMBERED, *OTHERWISE)
_WNIDS = re.compile(r"n\d{8}(?!\d)")

Labels = tuple[Label, ...]
"""Of an image: each is right."""


def rows_of(table: Path, files: Collection[str]) -> list[list[str]]:
    """The cells of JSON (`[class, ...]`, `{file: class}`, records, also one a line), or of text separated by commas,
    tabs, semicolons, bars or spaces; lines that begin with `# ` are comments. `files` tell where spaces separate.

    Raises `InputError` for what is no such table, and for an empty one.
    """
    if table.suffix == ".json":
        return _of_json(table, read_json(table))
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table}: not a text file that can be read, in UTF-8: {error}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("# ")]
    if not lines:
        raise InputError(f"{table}: the table is empty")
    if table.suffix == ".jsonl":
        try:
            return _of_json(table, [json.loads(line) for line in lines])
        except (ValueError, RecursionError) as error:
            raise InputError(f"{table}: not JSON in each line: {error}") from None
    mark = next((mark for mark in ",\t;|" if mark in lines[0].partition("[")[0]), "")
    if mark:
        return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]
    rows = [line.split(None, 1) for line in lines]
    if not any(map(any, _matches(rows, files))):  # names of files with spaces in them
        last = [line.rsplit(None, 1) for line in lines]
        rows = last if any(map(any, _matches(last, files))) else rows
    return [[cell.strip() for cell in row] for row in rows]


def _of_json(table: Path, content: Any) -> list[list[str]]:
    if not isinstance(content, dict | list) or not content:
        raise InputError(f"{table}: a list of classes, or files and their classes, are expected")
    found: Any = content.items() if isinstance(content, dict) else ([cell] for cell in content)
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        names = list(content[0])
        found = [names, *([record.get(name) for name in names] for record in content)]
    return [[cell if isinstance(cell, str) else json.dumps(cell) for cell in row] for row in found]


def path_in(cell: str) -> str:
    """The path of a file that a cell names, with '/'."""
    return str(PurePosixPath(cell.replace("\\", "/")))


def columns_of(table: Path, rows: Sequence[Sequence[str]], files: Collection[str]) -> tuple[int, int, bool]:
    """Which columns have the file and the class, and whether the first row is a header.

    The file's is the one called so, if it names some of `files`, else the one that names most of them. Of several that
    have the class it is one of names, if they agree. Raises `InputError` where nothing says which one it is.
    """
    names = [name.lower() for name in rows[0]]
    matches = _matches(rows, files)
    called = [names.index(name) for name in FILE_COLUMNS if name in names]
    file = next((column for column in called if any(matches[column])), None)
    if file is None:
        file = matches.index(max(matches)) if any(map(any, matches)) or not called else called[0]
    known = [column for name in _CLASS_COLUMNS if name in names and (column := names.index(name)) != file]
    header = bool(known or called) and not any(_matches(rows[:1], files)[file])
    if not known or not header:
        if header and len(names) > 2:
            listed = ", ".join(_CLASS_COLUMNS[1:])
            raise InputError(f"{table}: of the columns {', '.join(rows[0])} none is called {listed}")
        if len(names) > 2:
            raise InputError(f"{table}: its first line must name its {len(names)} columns, as file,label,...")
        return file, 1 - file, header
    cells = [[label_of(row[column]) for column in known] for row in rows[1:] if len(row) > max(known)]
    texts = [n for n in range(len(known)) if any(isinstance(label, str) for row in cells for label in row[n])]
    chosen = (texts or [0])[0]
    for n, column in enumerate(known):
        pairs = {(row[n], row[chosen]) for row in cells}
        if len(pairs) > min(len({one for one, _ in pairs}), len({other for _, other in pairs})):
            raise InputError(
                f"{table}: the columns {rows[0][known[chosen]]} and {rows[0][column]} have other classes; remove one"
            )
    return file, known[chosen], header


def _matches(rows: Sequence[Sequence[str]], files: Collection[str]) -> list[tuple[int, int]]:
    """Of each column of the first row, how many cells are one of the files, whatever their folders, and how many may
    be, without ending."""
    exact = {_name(file) for file in files}
    loose = exact | {_stem(file) for file in exact}
    found = []
    for column in range(len(rows[0])):
        cells = [_name(row[column].replace("\\", "/")) for row in rows if len(row) > column]
        likely = sum(cell in loose or _stem(cell) in loose for cell in cells)
        found.append((sum(cell in exact for cell in cells), likely))
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def label_of(text: str) -> Labels:
    """What a cell says: a number, a text, or a list of them; Kaggle's table has boxes after the wnids."""
    if text.startswith("["):
        try:
            return tuple(label for cell in ast.literal_eval(text) for label in label_of(str(cell)))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return (text,)
    if _WNIDS.match(text):
        return tuple(dict.fromkeys(_WNIDS.findall(text)))
    text = whole(text)
    return (int(text) if is_number(text) else text,)
