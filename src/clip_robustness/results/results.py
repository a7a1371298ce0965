"""The results of a run as data: results.json is the truth, every other report is a view of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from clip_robustness.errors import InputError
from clip_robustness.results.result import Result

SCHEMA = 4


@dataclass(frozen=True)
class Summary:
    """A figure of a model over many cells, with its 95% interval; shares, mCE and mFR relative to AlexNet's 1.

    `value` None: it is missing, and `reason` says why. `share` False: a number that is not shown as percent.
    """

    model: str
    role: str
    name: str
    value: float | None
    ci95: tuple[float, float] | None
    share: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Guard:
    """A check of a model's figures against each other, and whether it `passed`; `detail` has the figures."""

    model: str
    role: str
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and whether it holds for a candidate: `status` is holds, does not hold or open.

    It `says` that a `limit` is kept, or that a `figure` is above 0, in all cells whose path one of `match` matches.
    """

    model: str
    name: str
    says: str
    source: str
    match: tuple[str, ...]
    limit: str
    figure: str
    status: str
    detail: str


@dataclass(frozen=True)
class Comparison:
    """A figure of a model that is a known checkpoint beside the published one.

    `known` is what the published figures call it, `tolerance` by how much other pipelines may differ. `status` is
    agrees, differs or can't tell, and `reason` what the images could tell.
    """

    model: str
    role: str
    known: str
    condition: str
    published: float
    tolerance: float
    source: str
    value: float
    ci95: tuple[float, float]
    n: int
    status: str
    reason: str


@dataclass(frozen=True)
class Planned:
    """A cell of a candidate that a run selected."""

    test: str
    family: str
    condition: str
    params: dict[str, str | int]
    model: str


@dataclass(frozen=True)
class Shard:
    """Which part of a run it is, and what the whole run selected; nothing where it ended before that was known."""

    index: int
    count: int
    selected: list[Planned]


@dataclass(frozen=True)
class Results:
    suite: str
    environment: dict[str, Any]
    models: list[dict[str, Any]]
    cells: list[Result]
    summaries: list[Summary] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    shard: Shard | None = None
    partial: str = ""
    """What part of the suite's cells was selected, and why selected ones are missing; '' for a complete run of all."""
    warnings: list[str] = field(default_factory=list)
    """What makes the whole run say less than it seems to."""
    missing: tuple[str, ...] = ()
    """The tests of selected cells that the run ended before."""
    calibration: list[Comparison] = field(default_factory=list)
    """Figures of known checkpoints beside the published ones."""
    claims: list[Claim] = field(default_factory=list)
    """Those that the suite's profile names, for each candidate."""

    @property
    def unfinished(self) -> str:
        """Why this is no report of a run that came to its end with something measured; '' where it is.

        Where there are more shards than work some have no cells.
        """
        candidates = [cell for cell in self.cells if cell.role == "candidate"]
        idle = not candidates and self.shard is not None and self.shard.selected
        if self.missing or not (idle or any(cell.accuracy is not None for cell in candidates)):
            return self.partial or "Nothing was measured."
        return ""

    def to_json(self) -> str:
        raw = {"schema": SCHEMA, **vars(self)}
        try:
            return _json(raw)
        except PydanticSerializationError:  # a name that is not UTF-8 must not lose a run
            return _json(encodable({"schema": SCHEMA, **_RESULTS.dump_python(self)}))


_RESULTS = TypeAdapter(Results)


def _json(raw: dict[str, Any]) -> str:
    return to_json(raw, indent=1, inf_nan_mode="constants", fallback=str).decode()


def encodable(value: Any) -> Any:
    """The same with all texts as UTF-8 has them: bytes of names that are not are written as `\\udcff`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(inner) for key, inner in value.items()}
    return [encodable(inner) for inner in value] if isinstance(value, list | tuple) else value


def from_json(raw: dict[str, Any]) -> Results:
    """The inverse of `to_json`, without what a later version has added. Raises `ValueError`, `KeyError` or `TypeError`
    for anything else."""
    if raw["schema"] != SCHEMA:
        raise ValueError(f"schema {raw['schema']}, this version reads {SCHEMA}")
    try:
        found = _RESULTS.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for model in found.models:
        if not isinstance(model["model"] + model["role"], str) or not isinstance(model.get("warnings", []), list):
            raise ValueError("models: each has a name, a role and a list of warnings")
    for cell in found.cells:
        shares = [cell.accuracy, *(cell.ci95 or ())]
        if not all(share is None or 0 <= share <= 1 for share in shares):  # nor is NaN
            raise ValueError(f"cells: {cell.label} of {cell.model} has an accuracy or an interval outside of 0 to 1")
    return found


def read(file: Path) -> Results:
    """Read a results.json. Raises `InputError` naming the file where it is not one, or of another schema."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("a JSON object is expected")
        return from_json(found)
    except IsADirectoryError as error:
        raise InputError(f"{file}: a folder; give the results.json in it") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{file}: not a results.json of this suite: {said}") from error
