"""What images of a data set have in common, where its user says so: a line under `[groups]`.

`regex:PATTERN` searches the id of an image, and its first group names the group. `file:TABLE` has a line for each image
and group: its id, or its file's name, a tab and the group; or it is ImageNet-X's `imagenet_x_val_multi_factor.jsonl`,
or the one with the top factor alone (Idrissi et al. 2022): a line of JSON for each image, with a 1 for each factor. Of
`file:TABLE?columns=NAME,NAME`, a table with a head, a column has the names of files, and each value of a named one is a
group, 'NAME VALUE'. An image may be in several groups, and in none.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_robustness.datasets.clusters import fault_of_pattern
from clip_robustness.errors import InputError, nearest, reason

if TYPE_CHECKING:  # suites, which check rules, are light to import
    from clip_robustness.datasets.dataset import Dataset

_FILE_NAME = "file_name"


def fault_of(rule: str) -> str:
    """Why a rule says nothing, whatever the images are; '' where it may."""
    kind, _, what = rule.partition(":")
    if kind not in ("regex", "file") or not what:
        return f"'{rule}' is neither regex:PATTERN nor file:TABLE"
    return fault_of_pattern(what, "^(dry|rain)/") if kind == "regex" else ""


def grouped(images: Dataset, rule: str) -> Dataset:
    """With the groups that a rule says. Raises `InputError` where it says none of any image."""
    kind, _, what = rule.partition(":")
    found: Mapping[str, tuple[str, ...]]
    if kind == "regex":
        matches = {sample.id: re.search(what, sample.id) for sample in images.samples}
        found = {id: (match[1],) for id, match in matches.items() if match and match[1]}
    else:
        table, _, columns = what.partition("?columns=")
        read = _in_columns if columns else _listed
        listed = read(f"data set '{images.name}'", Path(table), columns.split(","))
        found = {
            sample.id: groups
            for sample in images.samples
            if (groups := listed.get(sample.id) or listed.get(sample.id.rpartition("/")[2]))
        }
    if not found:
        raise InputError(f"data set '{images.name}': {rule} under [groups] names none of its {len(images)} images")
    samples = tuple(replace(sample, groups=found.get(sample.id, ())) for sample in images.samples)
    said = f"data set '{images.name}': {len(images) - len(found)} of {len(images)} images are in no group of {rule}"
    warnings = (*images.warnings, said) if len(found) < len(images) else images.warnings
    return replace(images, samples=samples, warnings=warnings)


def _in_columns(place: str, file: Path, columns: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    from clip_robustness.datasets.label_tables import FILE_COLUMNS, rows_of

    try:
        head, *rows = rows_of(file, ())
    except InputError as error:
        raise InputError(f"{place}: [groups]: {error}") from None
    told = next((name for name in FILE_COLUMNS if name in head), None)
    if told is None:
        raise InputError(f"{place}: {file}: none of its columns is called {', '.join(FILE_COLUMNS)}")
    if unknown := [name for name in columns if name not in head]:
        raise InputError(f"{place}: {file} has no column '{unknown[0]}'; {nearest(unknown[0], head)}")
    if short := [row for row in rows if len(row) != len(head)]:
        raise InputError(f"{place}: {file}: {len(head)} columns are expected in each line, not {','.join(short[0])!r}")
    places = [(name, head.index(name)) for name in columns]
    return {row[head.index(told)]: tuple(f"{name} {row[at]}" for name, at in places if row[at]) for row in rows}


def _listed(place: str, file: Path, _: Sequence[str] = ()) -> Mapping[str, tuple[str, ...]]:
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: {file} under [groups] can't be read: {reason(error)}") from None
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for number, line in enumerate(lines, 1):
        for id, group in _of_line(line, f"{place}: {file}, line {number}"):
            groups[id][group] = None
    return {id: tuple(named) for id, named in groups.items()}


def _of_line(line: str, where: str) -> Iterator[tuple[str, str]]:
    if not line.startswith("{"):
        id, tab, group = line.partition("\t")
        if not tab or not group.strip():
            raise InputError(f"{where}: an id, a tab and a group are expected, not {line[:60]!r}")
        yield id, group.strip()
        return
    try:
        told: dict[str, Any] = json.loads(line)
        id = str(told[_FILE_NAME])
    except (ValueError, KeyError, RecursionError):
        raise InputError(f"{where}: JSON with a {_FILE_NAME} and a 0 or 1 for each factor is expected") from None
    yield from ((id, name) for name, value in told.items() if name != "class" and type(value) is int and value == 1)
