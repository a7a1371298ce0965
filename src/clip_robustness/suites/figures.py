"""Published accuracies as data: a file of the user's own, and the package's in the same form.

A file is CSV with the columns `model,condition,value,n,tolerance,source,fingerprint`, the last four optional; lines
that begin with '#' are comments. A condition is the id of a cell. ':pm0' after it is the accuracy on the anchors of a
video set; '@' says of which classes (`cifar10`) or of which named subset (`robustbench-5000`) it is, by default
ImageNet's and all. A `fingerprint` is that of the weights, as `clip-robustness calibrate` prints it: a copy of them is
recognised under any name. A line may give a model a fingerprint alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clip_robustness.conditions.catalogue import NAMES
from clip_robustness.conditions.ids import condition_of
from clip_robustness.datasets.classes import CLASS_LISTS
from clip_robustness.datasets.subsets import SUBSETS
from clip_robustness.errors import InputError, nearest, reason
from clip_robustness.suites.suite import Suite

_CONDITION = re.compile(r"(?P<id>[^@]+?)(:(?P<metric>pm0))?(@(?P<on>.+))?")
_COLUMNS = ("model", "condition", "value", "n", "tolerance", "source", "fingerprint")
_TOLERANCE = 0.003
"""Independent pipelines agree so far, where a file does not say."""


@dataclass(frozen=True)
class Published:
    """A published top-1 accuracy, a share. `condition` is the id of a cell, `metric` '' for its accuracy or `pm0`, `on`
    a class list or a named subset, `n` how many images or anchors it is of, None where that is not known; by
    `tolerance` another pipeline may differ."""

    model: str
    condition: str
    metric: str
    on: str
    value: float
    n: int | None
    tolerance: float
    source: str


@dataclass(frozen=True)
class Figures:
    """Published accuracies, and fingerprints of weights -> model."""

    rows: tuple[Published, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(row.model for row in self.rows), *self.weights.values()]))

    def of(self, model: str, condition: str, on: Collection[str], metric: str = "") -> list[Published]:
        """From all sources."""
        return [r for r in self.rows if (r.model, r.condition, r.metric) == (model, condition, metric) and r.on in on]

    def __add__(self, other: Figures) -> Figures:
        return Figures((*self.rows, *other.rows), {**self.weights, **other.weights})


def read(file: Path, data_sets: Collection[str] = ()) -> Figures:
    """Read a file of figures; `data_sets` are the suite's own, whose names are conditions, too.

    Raises `InputError` naming file and line for an unknown column or condition, and for a value that is no share.
    """
    found, wrong = looked_through(file, data_sets)
    if wrong:
        raise InputError(wrong[0])
    return found


def looked_through(file: Path, data_sets: Collection[str] = ()) -> tuple[Figures, list[str]]:
    """The figures of a file that can be read, and a sentence for each line that can't. Raises `InputError` for what is
    no file of figures."""
    try:
        lines = list(enumerate(file.read_text(encoding="utf-8").splitlines(), 1))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"figures {file}: can't be read: {reason(error)}") from None
    kept = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    table = csv.DictReader(line for _, line in kept)
    columns = table.fieldnames or ()
    if unknown := [column for column in columns if column not in _COLUMNS]:
        raise InputError(f"figures {file}: unknown column '{unknown[0]}'; {nearest(unknown[0], _COLUMNS)}")
    if "model" not in columns:
        raise InputError(f"figures {file}: the first line names the columns: {','.join(_COLUMNS)}")
    sources, weights = dict(_sources(lines)), dict[str, str]()
    rows, wrong, conditions = list[Published](), list[str](), dict[str, tuple[str, str, str]]()
    for (number, _), row in zip(kept[1:], table, strict=True):
        try:
            if not row["model"] or None in row:
                raise InputError("a line has a model and no more fields than there are columns")
            given = {key: (row.get(key) or "").strip() for key in _COLUMNS}
            if given["fingerprint"]:
                weights[given["fingerprint"]] = given["model"]
            if not given["fingerprint"] or given["condition"]:
                place = conditions.get(given["condition"]) or _condition(given["condition"], data_sets)
                conditions[given["condition"]] = place
                rows.append(_published(given, place, sources))
        except InputError as error:
            wrong.append(f"figures {file}, line {number}: {error}")
    return Figures(tuple(rows), weights), wrong


def on_of(suite: Suite) -> frozenset[str]:
    """What figures of a suite are on: a named subset, else its class list."""
    return frozenset({suite.settings.subset or suite.classes})


def beside_the_point(suite: Suite, file: Path, figures: Figures) -> Iterator[str]:
    """What a suite's file of figures says without a source, and what no condition of the suite measures."""
    rows, measured = figures.rows, {condition.id for condition in suite.conditions}
    if unsourced := [row for row in rows if not row.source]:
        yield (
            f"figures {file}: {len(unsourced)} of {len(rows)} figures have no source (first: {unsourced[0].model}, "
            f"{unsourced[0].condition}); name whose they are in the column 'source'"
        )
    if others := [row for row in rows if row.condition not in measured or row.on not in on_of(suite)]:
        yield (
            f"figures {file}: {len(others)} of {len(rows)} figures are of no condition of this suite and compared with "
            f"nothing (first: {others[0].condition} on {others[0].on})"
        )


def _published(given: Mapping[str, str], place: tuple[str, str, str], sources: Mapping[str, str]) -> Published:
    tolerance = _share(given["tolerance"], "tolerance") if given["tolerance"] else _TOLERANCE
    n = given["n"]
    if n and not (n.isdecimal() and 0 < len(n) < 10):
        raise InputError(f"n '{n}' is no number of images")
    condition, metric, on = place
    source = sources.get(given["source"], given["source"])
    value = _share(given["value"], "value")
    return Published(given["model"], condition, metric, on, value, int(n) if n else None, tolerance, source)


def _sources(lines: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """`# name: what it is` of the comments: what the column of sources abbreviates."""
    for _, line in lines:
        if found := re.fullmatch(r"# (\w+): (.+)", line):
            yield found[1], found[2]


def _condition(text: str, data_sets: Collection[str]) -> tuple[str, str, str]:
    """Its id, metric, and what it is on."""
    found = _CONDITION.fullmatch(text)
    if not found:
        raise InputError("a figure has a condition, the id of a cell such as imagenet-v2")
    on = found["on"] or "imagenet"
    if on not in (*CLASS_LISTS, *SUBSETS):
        raise InputError(f"'@{on}' is neither a class list nor a named subset; {nearest(on, (*CLASS_LISTS, *SUBSETS))}")
    condition = condition_of(found["id"])
    if condition.family == "natural" and condition.name not in (*NAMES["natural"], *data_sets):
        known = (name for names in NAMES.values() for name in names)
        raise InputError(f"there is no condition '{found['id']}'; {nearest(found['id'], (*known, *data_sets))}")
    return condition.id, found["metric"] or "", on


def _share(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        hint = "; a share is meant, not percent" if 1 < value <= 100 else ""
        raise InputError(f"{what} '{text}' is outside [0, 1]{hint}")
    return value
