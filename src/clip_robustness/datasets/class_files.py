"""Files that list classes, in the forms that people of this field have, as keys and names in an order."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clip_robustness.errors import InputError

_COLUMNS = {
    **dict.fromkeys(("key", "wnid", "synset", "folder"), "key"),
    **dict.fromkeys(("name", "class_name", "classname"), "name"),
    **dict.fromkeys(("index", "idx", "class_index"), "index"),
}
"""What the columns of a table may be called -> what they are."""
_WNID = re.compile(r"n\d{8}")
_AFTER_NUMBER = re.compile(r"(\d{1,9})[\s:,;]+(\S.*)")


class Row(NamedTuple):
    """One class; "" is what a file does not say. What stands alone on a line is a name here, and may be a key."""

    key: str
    name: str


def read_rows(file: Path, keys: Collection[str] = ()) -> list[Row]:
    """The classes of a file in its order, or in that of the numbers in it; `keys` are those that are known already.

    Read are JSON, a Python literal, a table with a header (CSV), and lines: `key<TAB>name`, a key or a wnid and a name
    (`n01440764 tench, Tinca tinca`), the same with a number between (`n02119789 1 kit_fox`), a number counted from 0
    and a name, or a name or a key alone. Lines that begin with `# ` are comments. Raises `InputError` for anything
    else.
    """
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a text file in UTF-8: {error}") from None
    try:
        if file.suffix == ".json" or text[:1] in ("{", "["):
            return _structured(_parsed(text))
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"'{repeated}' stands in it twice")
    return found


def _structured(value: Any) -> list[Row]:
    if isinstance(value, dict):
        keys, values = [str(key) for key in value], list(value.values())
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
    texts = [text for line in lines if (text := line.strip()) and text != "#" and not text.startswith("# ")]
    if hashes := [text for text in texts if text.startswith("#")]:
        raise InputError(
            f"the line {hashes[0][:40]!r} begins with #, but not with '# ' as comments do; write the name of such a "
            "class as key<TAB>name, or in JSON"
        )
    rows = [_row(text, keys) for text in texts]
    keyed = [row for row in rows if row.key]
    odd = [row.name for row in rows if not (row.key or row.name in keys or _is_wnid(row.name))]
    if keyed and odd and "\t" not in "".join(texts):
        raise InputError(f"{keyed[0].key!r} is a key with a name after it, {odd[0][:40]!r} is not; write key<TAB>name")
    numbered = [match for row in rows if (match := _AFTER_NUMBER.fullmatch(row.name))]
    numbers = [match[1] for match in numbered]
    if len(numbered) < max(2, len(rows)) or not (_counted(numbers) or all(_is_wnid(row.key) for row in rows)):
        return rows
    if keyed:
        return [Row(row.key, match[2].replace("_", " ")) for row, match in zip(rows, numbered, strict=True)]
    return _in_order(list(map(int, numbers)), [Row(match[1], _unquoted(match[2])) for match in numbered])


def _row(text: str, keys: Collection[str]) -> Row:
    key, tab, name = text.partition("\t")
    if tab:
        return Row(_unquoted(key), _unquoted(name))
    for separator in reversed(list(re.finditer(r"[\s:,;]+", text))):
        start = _unquoted(text[: separator.start()])
        if (start in keys or _is_wnid(start)) and separator.end() < len(text):
            return Row(start, _unquoted(text[separator.end() :]))
    return Row("", _unquoted(text))


def _is_wnid(text: str) -> bool:
    return bool(_WNID.fullmatch(text))


def _unquoted(text: str) -> str:
    """Without quotes around it, and without the comma of a list behind these."""
    text = text.strip()
    inner = text[:-1].rstrip() if text.endswith(",") else text
    if len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "'\"" and inner[0] not in inner[1:-1]:
        return inner[1:-1].strip()
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
