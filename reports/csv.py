"""cells.csv: a row a cell, candidates and baselines alike; shares as shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from clip_robustness.results.result import Result, properties

_FIRST = ("family", "condition", "params", "role", "model", "n", "correct", "accuracy", "ci_low", "ci_high")
_LAST = ("seconds", "reason")
_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What the texts begin with that spreadsheets compute; the last four are the wide forms of the first."""


def render(cells: Iterable[Result]) -> str:
    rows = [_row(cell) for cell in cells]
    names = dict.fromkeys((*_FIRST, *(name for row in rows for name in row if name not in _LAST), *_LAST))
    file = io.StringIO()
    writer = csv.DictWriter(file, list(names), lineterminator="\n")
    writer.writerow({name: _inert(name) for name in names})
    writer.writerows(rows)
    return file.getvalue()


def _row(cell: Result) -> dict[str, str | int | float]:
    own: dict[str, str | int | float] = {
        "family": cell.family,
        "condition": cell.condition,
        "params": " ".join(f"{key}={value}" for key, value in cell.params.items()),
        "role": cell.role,
        "correct": cell.correct,
        "seconds": cell.seconds,
        "reason": cell.reason,
    }
    return {name: _inert(value) for name, value in (own | dict(properties(cell))).items()}


def _inert(value: str | int | float) -> str | int | float:
    """A text that a spreadsheet would compute gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_COMPUTED) else value
