"""Files that list classes, in the forms that people of this field have, as keys and names in an order."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from clip_robustness.errors import InputError

_COLUMNS = {
    **dict.fromkeys(("key", "wnid", "synset", "folder"), "key"),
    **dict.fromkeys(("name", "class_name", "classname"), "name"),
    **dict.fromkeys(("index", "idx", "class_index", "class_idx", "id", "class_id", "label_id"), "index"),
}
"""What the columns of a table may be called -> what they are."""
_WNID = re.compile(r"n\d{8}")
_AFTER_NUMBER = re.compile(r"(?P<number>\d{1,9})[\s:,;.)]+(?P<name>\S.*)")
_BEFORE_NUMBER = re.compile(r"(?P<name>\S.*?)[\s:,;=]+(?P<number>\d{1,9})")
_ASSIGNMENT = re.compile(r"\w+\s*(?::[^=\n]*)?=\s*(?=[\[({])")
"""Before a literal in a Python file: `CLASSES = [`."""
_BULLET = re.compile(r"[-*\u2022]\s+")
_COMMENT = re.compile(r"#|;|//|[^\t]*\s#\s")
"""No comment here, and nothing that a prompt should say; after a tab stands a name."""
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_INSIDE = ("names", "id2label", "label2id", "classes", "class_names", "label_names")
"""Where a YOLO data file, and configurations of transformers, timm and others, have their names."""
_PADDED = re.compile(r"(?P<number>\d{2,})\.(?P<name>[^\W\d].*)")
"""Folders of CUB-200: `001.Black_footed_Albatross`."""
_COMMENTS = re.compile(r"(?:#.*\n|\s)+")


class Row(NamedTuple):
    """One class; "" is what a file does not say. What stands alone on a line is a name here, and may be a key."""

    key: str
    name: str


def read_rows(file: Path, keys: Collection[str] = ()) -> list[Row]:
    """The classes of a file in its order, or in that of the numbers in it; `keys` are those that are known already.

    Read are JSON, YAML, a Python literal, a table with a header (CSV), and lines: `key<TAB>name`, a key or a wnid and a
    name (`n01440764 tench, Tinca tinca`), a name or a key alone, each also with a number before, between or behind,
    which counts from 0 and is the place. Lines that begin with `# ` are comments. Raises `InputError` for anything
    else.
    """
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a text file in UTF-8: {error}") from None
    try:
        if file.suffix in (".yaml", ".yml"):
            return _structured(_yaml(text))
        if file.suffix == ".jsonl":
            return _structured([_parsed(line) for line in text.splitlines() if line.strip()])
        code = _COMMENTS.sub("", text, count=1) if _COMMENTS.match(text) else text
        literal = _ASSIGNMENT.sub("", code, count=1) if _ASSIGNMENT.match(code) else code
        if file.suffix == ".json" or literal[:1] in ("{", "[") or literal != code:
            return _structured(_parsed(literal))
        first, tabular = text.partition("\n")[0], file.suffix in (".csv", ".tsv")
        for delimiter in ",;\t":
            header = [_COLUMNS.get(cell.strip().strip('"').lower(), "") for cell in first.split(delimiter)]
            if "" not in header and len(header) == len(set(header)) and (len(header) > 1 or tabular):
                return _table(list(csv.DictReader(text.split("\n"), header, delimiter=delimiter))[1:])
        if file.suffix == ".csv":
            raise InputError(f"its first line is {first[:60]!r}; the names of the columns are expected: key,name")
        return _lines(text.split("\n"), keys)
    except (InputError, csv.Error) as error:
        raise InputError(f"{file}: {error}") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        try:  # {0: 'tench, Tinca tinca', ...}
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise InputError(f"neither JSON nor a Python literal: {error}") from None


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"not YAML: {' '.join(str(error).split())[:200]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"'{repeated}' stands in it twice")
    return found


def _structured(value: Any) -> list[Row]:
    if isinstance(value, dict):
        if inner := next((value[name] for name in _INSIDE if isinstance(value.get(name), dict | list)), None):
            return _structured(inner)
        keys, values = [str(key) for key in value], list(value.values())
        if _are(values, str) and _counted(values) and not _counted(keys):  # {name: number}, as texts
            return _in_order(list(map(int, values)), [Row("", key) for key in keys])
        if _are(values, str):  # {key: name}, or {number: name}
            rows = list(map(Row, keys, values))
            return _in_order(list(map(int, keys)), rows) if "0" in keys and _counted(keys) else rows
        if _are(values, int):  # {name: number}
            return _in_order(values, [Row("", key) for key in keys])
        if all(map(_is_pair, values)) and _counted(keys):  # {number: [key, name]}
            return _in_order(list(map(int, keys)), [Row(key, name.replace("_", " ")) for key, name in values])
    if isinstance(value, list):
        if _are(value, str):
            return [Row("", name) for name in value]
        if all(map(_is_pair, value)):
            return [Row(key, name) for key, name in value]
        if _are(value, dict) and all(key in _COLUMNS for row in value for key in row):
            return _table([{_COLUMNS[key]: str(cell) for key, cell in row.items()} for row in value])
    raise InputError(
        "not of a form that is read: [name, ...], [[key, name], ...], {key: name}, {name: number}, "
        "{number: name} or {number: [key, name]}, numbers from 0"
    )


def _are(values: Iterable[Any], kind: type) -> bool:
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and _are(value, str)


def _table(table: Sequence[dict[str | Any, Any]]) -> list[Row]:
    rows = [Row((row.get("key") or "").strip(), (row.get("name") or "").strip()) for row in table]
    if odd := [i for i, row in enumerate(table, 1) if None in row or not any(rows[i - 1])]:
        raise InputError(f"row {odd[0]} has other columns than the header; names with commas need quotes")
    numbers = [str(row.get("index", "")).strip() for row in table]
    if not any(numbers):
        return rows
    if not all(number.isdecimal() for number in numbers):
        raise InputError("its index column has something else than numbers")
    return _in_order([int(number) for number in numbers], rows)


def _lines(lines: Sequence[str], keys: Collection[str]) -> list[Row]:
    texts = [text for line in lines if (text := _visible(line)) and text != "#" and not text.startswith("# ")]
    if odd := [text for text in texts if _COMMENT.match(text)]:
        raise InputError(
            f"the line {odd[0][:40]!r} has a comment, which must begin a line, as '# '; write a name that has such "
            "signs as key<TAB>name, or in JSON"
        )
    if all(map(_BULLET.match, texts)):
        texts = [_BULLET.sub("", text, count=1) for text in texts]
    cells = [text.split("\t") for text in texts]
    if (columns := max(map(len, cells), default=0)) > 2:
        return _columns(cells, columns)
    rows = [_row(text, keys) for text in texts]
    keyed = [row for row in rows if row.key]
    nameless = [row.name for row in rows if not (row.key or row.name in keys or _is_wnid(row.name))]
    if keyed and nameless and columns < 2:
        raise InputError(
            f"{keyed[0].key!r} is a key with a name after it, {nameless[0][:40]!r} is not; write key<TAB>name"
        )
    return _ordered(rows)


def _columns(cells: Sequence[Sequence[str]], count: int) -> list[Row]:
    """Of three columns one has the number; the others are the key and the name."""
    for place in range(count):
        numbers = [row[place].strip() for row in cells if len(row) == count]
        if count == 3 and len(numbers) == len(cells) and _counted(numbers):
            rows = [Row(*(_unquoted(cell) for n, cell in enumerate(row) if n != place)) for row in cells]
            return _in_order(list(map(int, numbers)), rows)
    raise InputError("a line has more than one tab; two columns are expected: key<TAB>name")


def _ordered(rows: list[Row]) -> list[Row]:
    """Without the numbers that all of them have, before or behind the name or for one, in the order of these."""
    if len(rows) > 1 and _counted([row.key for row in rows]):
        return _in_order(list(map(int, (row.key for row in rows))), rows) if "0" in {row.key for row in rows} else rows
    if len(rows) > 1 and all(row.key for row in rows) and _counted([row.name for row in rows]):
        return _by_number([row.name for row in rows], [Row("", row.key) for row in rows])
    padded = [match for row in rows if not row.key and (match := _PADDED.fullmatch(row.name))]
    if len(padded) == len(rows) == len({match["number"] for match in padded}):
        return [Row(match[0], match["name"]) for match in padded]
    for form in (_AFTER_NUMBER, _BEFORE_NUMBER):
        found = [match for row in rows if (match := form.fullmatch(row.name))]
        numbers, names = [match["number"] for match in found], [_unquoted(match["name"]) for match in found]
        if len(found) < max(2, len(rows)) or (form is _BEFORE_NUMBER and len(set(names)) < len(names)):
            continue  # the numbers of 'stage 0' and 'stage 1' are their names
        if all(row.key for row in rows):
            named = [Row(row.key, name.replace("_", " ")) for row, name in zip(rows, names, strict=True)]
            if _counted(numbers):
                return _by_number(numbers, named)
            if all(_is_wnid(row.key) for row in rows) and form is _AFTER_NUMBER:
                return named  # of the devkit's list a part
        elif _counted(numbers) or ("0" in numbers and len(set(numbers)) == len(numbers)):
            before = form is _AFTER_NUMBER
            return _in_order(
                list(map(int, numbers)),
                [Row(n if before else "", name) for n, name in zip(numbers, names, strict=True)],
            )
    return rows


def _by_number(numbers: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Rows that have keys may be counted from 1, as the devkit does."""
    return [row for _, row in sorted(zip(map(int, numbers), rows, strict=True), key=lambda pair: pair[0])]


def _row(text: str, keys: Collection[str]) -> Row:
    key, tab, name = text.partition("\t")
    if tab:
        return Row(_unquoted(key), _unquoted(name))
    for separator in reversed(list(re.finditer(r"[\s:,;]+", text))):
        start = _unquoted(text[: separator.start()])
        if (start in keys or _is_wnid(start)) and separator.end() < len(text):
            return Row(start, _unquoted(text[separator.end() :]))
    return Row("", _unquoted(text))


def _visible(line: str) -> str:
    """Without what can't be seen around it."""
    return line.strip().strip(_INVISIBLE).strip()


def _is_wnid(text: str) -> bool:
    return bool(_WNID.fullmatch(text))


def _unquoted(text: str) -> str:
    """Without the comma of a list behind it, and without quotes around it."""
    text = text.strip().rstrip(",;").rstrip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _counted(numbers: Sequence[str]) -> bool:
    """Whether they are all from 0 or from 1 up, each once."""
    return any(set(numbers) == {str(n) for n in range(start, start + len(numbers))} for start in (0, 1))


def _in_order(numbers: Sequence[int], rows: Sequence[Row]) -> list[Row]:
    """The rows by their numbers, which must count from 0: what counts from 1 has another list's order."""
    if sorted(numbers) != list(range(len(rows))):
        raise InputError(
            f"its numbers go from {min(numbers)} to {max(numbers)}; those of {len(rows)} classes go from 0 to "
            f"{len(rows) - 1}, each once"
        )
    return [row for _, row in sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0])]
