"""What the readers of data sets have in common."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from shifts.image_set import Item


@dataclass(frozen=True)
class Records:
    """What a source holds before its labels are understood: `label` is the number that stands there.

    `classnames` are what the source calls its numbers, if it does; `place` is what to name in messages.
    """

    place: str
    items: tuple[Item, ...]
    classnames: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
