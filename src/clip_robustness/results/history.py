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
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_robustness.errors import InputError, nearest, reason
from clip_robustness.files import expanded, is_bomb, whole
from clip_robustness.results.headline import headline
from clip_robustness.results.results import Results, from_json

if TYPE_CHECKING:
    from clip_robustness.metrics.intervals import Correct

SCHEMA = 1
SUFFIX = ".run.json.gz"
_LARGEST = 1 << 28
"""Bytes that are unpacked: ten thousand cells of 50 000 images are far below it, and a malicious file is stopped."""


class NoRunError(InputError):
    """No recorded run is the one that is asked for."""


@dataclass(frozen=True)
class CorrectImages:
    """Which images a candidate got right under a condition: ids and, in their order, bool (n,), and the sizes of the
    files in bytes. `made_with` names what the pixels depend on beside them: a surrogate, textures; `code` has the
    versions of what computed them, `condition`'s, that of what read the `data`, and that of what built the model by its
    kind. `wrong` are the classes that were predicted for the images that are not correct, in their order; empty where
    that was not recorded."""

    model: str
    condition: str
    ids: tuple[str, ...]
    correct: Correct
    sizes: tuple[int, ...]
    made_with: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    wrong: tuple[int, ...] = ()

    @property
    def mistakes(self) -> dict[str, int]:
        """Image -> the class that it was taken for."""
        of = [id for id, right in zip(self.ids, self.correct, strict=True) if not right]
        return dict(zip(of, self.wrong, strict=True)) if self.wrong else {}

    def of(self, ids: Sequence[str], sizes: Sequence[int]) -> tuple[NDArray[np.bool_], Correct]:
        """Which of other images, bool (n,), are among these: files of the same id and size; and of those that are, in
        their order, whether they are correct here."""
        was = {(id, size): right for id, size, right in zip(self.ids, self.sizes, self.correct, strict=True)}
        keys = list(zip(ids, sizes, strict=True))
        return np.array([key in was for key in keys], bool), np.array([was[key] for key in keys if key in was], bool)


@dataclass(frozen=True)
class Run:
    name: str
    recorded: str
    file: Path
    results: Results
    right: Mapping[tuple[str, str], CorrectImages]
    held: bool
    """Whether every limit was shown to be kept, of all that was to be run."""
    passed_over: tuple[str, ...] = ()
    """Names of newer runs that did not hold, where the last one that did was asked for."""

    def counterpart(self, model: str) -> str | None:
        """Whose outcomes count for a candidate: its own, or those of the only one there was."""
        earlier = {name for name, _ in self.right}
        return model if model in earlier else next(iter(earlier)) if len(earlier) == 1 else None

    def __str__(self) -> str:
        newer = f"; newer ones did not hold: {', '.join(self.passed_over)}" if self.passed_over else ""
        return f"compared with run '{self.name}', recorded {self.recorded}{newer}"


def packed(right: CorrectImages) -> dict[str, Any]:
    """As plain data, an eighth of a byte an image beside the ids."""
    bits = base64.b64encode(np.packbits(right.correct).tobytes()).decode()
    return asdict(right) | {"correct": bits}


def unpacked(raw: Mapping[str, Any]) -> CorrectImages:
    packed_bits = np.frombuffer(base64.b64decode(raw["correct"]), np.uint8)
    if len(packed_bits) != (len(raw["ids"]) + 7) // 8:
        raise ValueError(f"{raw['condition']}: what is right is not told for {len(raw['ids'])} images")
    bits = np.unpackbits(packed_bits, count=len(raw["ids"]))
    images = {name: tuple(raw.get(name, ())) for name in ("ids", "sizes", "wrong")}
    return CorrectImages(**dict(raw) | images | {"correct": bits.astype(bool)})


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
        "held": held(results),
        "results": json.loads(results.to_json()),
        "images": list(images),
        "cells": lean,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{now:%Y%m%dT%H%M%S%f}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}{SUFFIX}"
    with whole(file) as partial:
        partial.write_bytes(gzip.compress(json.dumps(content, ensure_ascii=False).encode()))
    return file


def held(results: Results) -> bool:
    """Whether a run is one to compare later ones with: it holds, and is no part of another."""
    return headline(results).state == "holds" and not results.partial and results.shard is None


def marked(results: Results) -> str:
    """What to say after the name of a run."""
    if held(results):
        return ""
    return f" (did not hold, --compare latest passes it over: {results.partial or headline(results).sentence})"


def read(file: Path) -> Run:
    """Raises `InputError` for what is no recorded run, is truncated, or is of another schema."""
    try:
        with gzip.open(file) as unpacked_file:
            content = unpacked_file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputError(f"{file}: not a recorded run: it unpacks to more than {_LARGEST >> 20} MB")
        if is_bomb(content, file.stat().st_size):
            raise InputError(f"{file}: not a recorded run: it would fill the memory")
        raw = json.loads(content)
        if raw["schema"] != SCHEMA:
            raise InputError(f"{file}: recorded with schema {raw['schema']}, this version reads {SCHEMA}; update it")
        # cells on the same images share them here, too
        images = [(tuple(id for id, _ in some), tuple(size for _, size in some)) for some in raw["images"]]
        cells = []
        for cell in raw["cells"]:
            ids, sizes = images[cell.pop("images")]
            cells.append(unpacked(cell | {"ids": ids, "sizes": sizes}))
        right = {(cell.model, cell.condition): cell for cell in cells}
        results = from_json(raw["results"])
        return Run(raw["name"], raw["recorded"], file, results, right, bool(raw.get("held", held(results))))
    except gzip.BadGzipFile:
        raise InputError(f"{file}: damaged, or not a recorded run, as `run --record NAME` writes them") from None
    except EOFError:
        raise InputError(f"{file}: truncated; take it from a backup, or record that run again") from None
    except InputError:
        raise
    except (OSError, zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: not a recorded run: {reason(error)}") from None


def files(folder: Path) -> list[Path]:
    """Of all recorded runs, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def find(folder: Path, asked: str, suite: str) -> Run:
    """A run by its file, by the name it was recorded with (the newest of that name), or the `latest` of a suite that
    held.

    Raises `NoRunError` where there is none, `InputError` where a file that may be it is damaged.
    """
    if (file := expanded(asked)).is_file():
        return read(file)
    names = list[str]()
    passed_over = list[str]()
    for file in reversed(files(folder)):  # a damaged file that is older than the run asked for is in nobody's way
        run = read(file)
        if run.name == asked:
            return run
        names.append(run.name)
        if asked == "latest" and run.results.suite == suite:
            if run.held:
                return replace(run, passed_over=tuple(passed_over))
            passed_over.append(run.name)
    if passed_over:
        them = ", ".join(f"'{name}'" for name in passed_over)
        raise NoRunError(
            f"--compare latest: none of the recorded runs of suite {suite} in {folder} held ({them}); compare with one "
            "by its name"
        )
    hint = nearest(asked, names) if names else "nothing is recorded there yet; --record NAME records a run"
    raise NoRunError(f"--compare {asked}: no such run of suite {suite} in {folder}; {hint}")
