"""What the analysis leaves: overlap.json, which tests and `--exclude-overlap` read. Light to import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clip_robustness.errors import InputError, reason
from clip_robustness.files import whole

RESULT = "overlap.json"
SCHEMA = 1

Ids = Mapping[str, frozenset[str]]
"""Data set -> the ids of its images that overlap with the pre-training images."""


@dataclass(frozen=True)
class Calibration:
    """Limits, and what they get right: of `duplicates`, synthetic copies, `found`, of `lookalikes` that are none
    `mistaken`. Both were counted with limits that were chosen on other images (in two halves, crosswise).

    `alike` None: there were no pixels to compare, the cosine decided alone.
    """

    cosine: float
    alike: float | None
    duplicates: int
    found: int
    lookalikes: int
    mistaken: int

    @property
    def recall(self) -> float:
        """Share of the copies that are found."""
        return self.found / self.duplicates

    def precision(self, n: int, pairs: int) -> float:
        """Share of true ones among `pairs` of `n` images, if images are mistaken as often as look-alikes."""
        return max(0.0, 1 - n * self.mistaken / self.lookalikes / pairs) if pairs else 1.0


@dataclass(frozen=True)
class Pair:
    """A test image and the pre-training image that is closest to it: `near` is `shard/key`."""

    id: str
    near: str
    cosine: float
    alike: float | None = None


@dataclass(frozen=True)
class Overlap:
    """Of one data set: `n` images were looked at; `pairs` are near-duplicates, the surest last."""

    n: int
    calibration: Calibration
    pairs: tuple[Pair, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Of all data sets. `left_out` has a sentence for everything in the pre-training set that was not looked at."""

    encoder: str
    fingerprint: str
    pretraining: int
    search: str
    data: Mapping[str, Overlap] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def ids(self) -> Ids:
        return {name: frozenset(pair.id for pair in found.pairs) for name, found in self.data.items()}


def write(found: Found, file: Path) -> None:
    data = {name: {"ids": sorted(found.ids[name]), **asdict(one)} for name, one in found.data.items()}
    content = {"schema": SCHEMA, **asdict(found), "data": data}
    with whole(file) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> Found:
    """Raises `InputError` for what the analysis did not write."""
    raw = _content(file)
    try:
        if raw.pop("schema") != SCHEMA:
            raise InputError(f"{file}: of another version; run clip-robustness overlap again")
        data = {name: _overlap(one) for name, one in raw.pop("data").items()}
        return Found(**raw | {"left_out": tuple(raw["left_out"])}, data=data)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not an overlap.json of clip-robustness overlap ({error!r})") from None


def read_ids(file: Path) -> Ids:
    """The ids of an overlap.json, or of any JSON object {data set: [ids]}. Raises `InputError` for all else."""
    raw = _content(file)
    if "schema" in raw:
        return read(file).ids
    if not all(isinstance(ids, list) and all(isinstance(i, str) for i in ids) for ids in raw.values()):
        raise InputError(f"{file}: neither an overlap.json nor an object {{data set: [ids of images]}}")
    return {name: frozenset(ids) for name, ids in raw.items()}


def _content(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: can't be read as JSON ({reason(error)}); clip-robustness overlap writes such a file"
        ) from None
    if not isinstance(raw, dict):
        raise InputError(f"{file}: an object {{data set: [ids of images]}} is expected")
    return raw


def _overlap(raw: dict[str, Any]) -> Overlap:
    pairs = tuple(Pair(**pair) for pair in raw["pairs"])
    return Overlap(raw["n"], Calibration(**raw["calibration"]), pairs, tuple(raw["unreadable"]))
