"""Recorded runs: one small file each, with the results and, for every cell of a candidate, which images were right.

A file is gzipped JSON, written whole under a name of its own and never changed: a run that dies leaves no half of one.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from metrics.intervals import Correct
from metrics.results import Results, from_json
from models.errors import InputError, nearest
from models.files import expanded, whole

SCHEMA = 1
SUFFIX = ".run.json.gz"
_LARGEST = 1 << 30
"""Bytes that are unpacked: ten thousand cells of 50 000 images are far below it, and a malicious file is stopped."""


@dataclass(frozen=True)
class Right:
    """Which images a candidate got right under a condition: ids and, in their order, bool (n,), and the sizes of the
    files in bytes. `made_with` names what the pixels depend on beside them: a surrogate, textures."""

    model: str
    condition: str
    ids: tuple[str, ...]
    correct: Correct
    sizes: tuple[int, ...]
    made_with: str = ""


@dataclass(frozen=True)
class Run:
    name: str
    recorded: str
    file: Path
    results: Results
    right: Mapping[tuple[str, str], Right]


def packed(right: Right) -> dict[str, Any]:
    """As plain data, an eighth of a byte an image beside the ids."""
    bits = base64.b64encode(np.packbits(right.correct).tobytes()).decode()
    return asdict(right) | {"correct": bits}


def unpacked(raw: Mapping[str, Any]) -> Right:
    packed_bits = np.frombuffer(base64.b64decode(raw["correct"]), np.uint8)
    if len(packed_bits) != (len(raw["ids"]) + 7) // 8:
        raise ValueError(f"{raw['condition']}: what is right is not told for {len(raw['ids'])} images")
    bits = np.unpackbits(packed_bits, count=len(raw["ids"]))
    images = {name: tuple(raw[name]) for name in ("ids", "sizes")}
    return Right(**dict(raw) | images | {"correct": bits.astype(bool)})


def append(folder: Path, name: str, results: Results, cells: Sequence[Mapping[str, Any]]) -> Path:
    """Add a run; `cells` are `packed`. Cells on the same images share them in the file."""
    images: dict[tuple[tuple[str, int], ...], int] = {}
    lean = []
    for cell in cells:
        sized = tuple(zip(cell["ids"], cell["sizes"], strict=True))
        others = {key: value for key, value in cell.items() if key not in ("ids", "sizes")}
        lean.append(others | {"images": images.setdefault(sized, len(images))})
    now = datetime.now(UTC)
    content = {
        "schema": SCHEMA,
        "name": name,
        "recorded": now.isoformat(timespec="seconds"),
        "results": json.loads(results.to_json()),
        "images": list(images),
        "cells": lean,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{now:%Y%m%dT%H%M%S%f}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}{SUFFIX}"
    with whole(file) as partial:
        partial.write_bytes(gzip.compress(json.dumps(content, ensure_ascii=False).encode()))
    return file


def read(file: Path) -> Run:
    """Raises `InputError` for what is no recorded run, is truncated, or is of another schema."""
    try:
        with gzip.open(file) as unpacked_file:
            content = unpacked_file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputError(f"{file}: not a recorded run: it unpacks to more than {_LARGEST >> 20} MB")
        raw = json.loads(content)
        if raw["schema"] != SCHEMA:
            raise InputError(f"{file}: recorded with schema {raw['schema']}, this version reads {SCHEMA}; update it")
        cells = []
        for cell in raw["cells"]:
            images = raw["images"][cell.pop("images")]
            cells.append(unpacked(cell | {"ids": [id for id, _ in images], "sizes": [size for _, size in images]}))
        right = {(cell.model, cell.condition): cell for cell in cells}
        return Run(raw["name"], raw["recorded"], file, from_json(raw["results"]), right)
    except EOFError:
        raise InputError(f"{file}: truncated; take it from a backup, or record that run again") from None
    except InputError:
        raise
    except (OSError, zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: not a recorded run: {error}") from None


def files(folder: Path) -> list[Path]:
    """Of all recorded runs, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def find(folder: Path, asked: str, suite: str) -> Run:
    """A run by its file, by the name it was recorded with (the newest of that name), or the `latest` of a suite.

    Raises `InputError` where there is none.
    """
    if (file := expanded(asked)).is_file():
        return read(file)
    names = []
    for file in reversed(files(folder)):  # a damaged file that is older than the run asked for is in nobody's way
        run = read(file)
        if run.name == asked or (asked == "latest" and run.results.suite == suite):
            return run
        names.append(run.name)
    hint = nearest(asked, names) if names else "nothing is recorded there yet; --record NAME records a run"
    raise InputError(f"--compare {asked}: no such run of suite {suite} in {folder}; {hint}")
