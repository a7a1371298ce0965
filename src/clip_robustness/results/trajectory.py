"""How a family of checkpoints went over its recorded runs: what each got right, where it fell first, and what changed
in how the runs were made.

A fall is called where McNemar's exact test on the images of both runs says so: of each run against the one before it,
which finds a step, and against the first, which finds a slide. Holm's correction over all of these tests of a series
keeps the probability that any fall is called which is none at most `ALPHA`, whatever they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, nearest
from clip_robustness.metrics.evidence import paired, rejected
from clip_robustness.metrics.intervals import Estimate, paired_difference
from clip_robustness.results.history import Run
from clip_robustness.results.result import Result

ALPHA = 0.05
Key = tuple[str, str]
"""Family and label of a condition."""
_OF_THE_RUN = ("seed", "classes")
_BY_NATURE = ("command", "started", "seconds", "python_path", "report_dir", "history", "record", "compare")
"""What differs between any two runs, or changes no figure."""


@dataclass(frozen=True)
class Point:
    """A candidate in a run, with its measured cells."""

    run: Run
    model: str

    @cached_property
    def cells(self) -> Mapping[Key, Result]:
        own = (c for c in self.run.results.cells if c.role == "candidate" and c.model == self.model)
        return {(c.family, c.label): c for c in own if c.accuracy is not None}

    @property
    def set_up(self) -> dict[str, str]:
        """What figures can depend on: of the run, and of how the model is asked."""
        of_run = {k: str(v) for k, v in self.run.results.environment.items() if k not in _BY_NATURE}
        about = next((m for m in self.run.results.models if m["model"] == self.model), {})
        left = ("model", "role", "spec", "fingerprint", "weights", "warnings")
        return (
            of_run
            | {f"model's {k}": str(v) for k, v in about.items() if k not in left}
            | {"suite": self.run.results.suite}
        )


@dataclass(frozen=True)
class Fall:
    """A condition in which run `at` is worse than the earlier run `against`, both from 0, on `n` images of both."""

    key: Key
    at: int
    against: int
    difference: Estimate
    n: int
    p: float


@dataclass(frozen=True)
class Series:
    """The runs of a family of checkpoints, oldest first."""

    name: str
    points: tuple[Point, ...]

    @property
    def keys(self) -> list[Key]:
        """Conditions that any run has, in the order of the first that has them."""
        return list(dict.fromkeys(key for point in self.points for key in point.cells))

    @cached_property
    def falls(self) -> dict[Key, Fall]:
        """Condition -> where it fell first; none of those that did not fall."""
        tested = [test for test in self._tests.values() if not isinstance(test, str)]
        found: dict[Key, Fall] = {}
        for fall, is_one in zip(tested, rejected([fall.p for fall in tested], ALPHA), strict=True):
            if is_one and (fall.key not in found or fall.at < found[fall.key].at):
                found[fall.key] = fall
        return found

    @cached_property
    def not_compared(self) -> dict[str, list[Key]]:
        """Why runs can't be compared -> the conditions."""
        found: dict[str, list[Key]] = {}
        for (key, at, against), said in self._tests.items():
            if isinstance(said, str) and against == at - 1:
                found.setdefault(said, []).append(key)
        return found

    def changes(self, at: int) -> list[str]:
        """What run `at` has otherwise than the one before it."""
        before, now = self.points[at - 1].set_up, self.points[at].set_up
        names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
        return [f"{n.replace('_', ' ')}: {before.get(n, 'not told')} -> {now.get(n, 'not told')}" for n in names]

    @cached_property
    def _tests(self) -> dict[tuple[Key, int, int], Fall | str]:
        """(condition, run, an earlier run) -> the test of one against the other, or why there is none."""
        pairs = [(at, against) for at in range(1, len(self.points)) for against in dict.fromkeys((at - 1, 0))]
        return {(key, at, against): self._test(key, at, against) for key in self.keys for at, against in pairs}

    def _test(self, key: Key, at: int, against: int) -> Fall | str:
        pair = compared(self.points[against], self.points[at], key)
        if isinstance(pair, str):
            return pair
        then, now = pair
        return Fall(key, at, against, paired_difference(now, then), len(now), paired(now, then, 0.0).p_violation)


def compared(before: Point, now: Point, key: Key) -> tuple[np.ndarray, np.ndarray] | str:
    """What two runs got right of the images of both, bool (n,); or why they can't be compared."""
    pair = f"'{before.run.name}' and '{now.run.name}'"
    cells = before.cells.get(key), now.cells.get(key)
    if None in cells:
        return f"not in both of {pair}"
    if any(cell and cell.n_clusters for cell in cells):
        return "not tested: images belong together, and recorded runs do not tell which"
    for what in _OF_THE_RUN:
        values = [point.run.results.environment.get(what) for point in (before, now)]
        if values[0] != values[1]:
            return f"{pair} have {what} {values[0]} and {values[1]}"
    path = _path(now.cells[key])
    first, second = (point.run.right.get((point.model, path)) for point in (before, now))
    if first is None or second is None:
        return f"{pair}: which images were right is not recorded"
    if any(first.code.get(part, version) != version for part, version in second.code.items()):
        return f"{pair} were computed by different versions of the code, or of a library"
    if first.made_with != second.made_with:
        return f"{pair} were made with different surrogates, or textures"
    both, then = first.of(second.ids, second.sizes)
    return (then, second.correct[both]) if both.any() else f"{pair} have no image in common"


def _path(cell: Result) -> str:
    return Condition(cell.family, cell.condition, tuple(cell.params.items())).path


def series_of(runs: Sequence[Run], family: str = "") -> list[Series]:
    """Of the candidates whose name or spec begins with `family`: one series where each run has one of them, else one of
    each name. Raises `InputError` where there is none."""
    points, others = [], set[str]()
    for run in runs:
        specs = {str(model["model"]): str(model.get("spec", "")) for model in run.results.models}
        for model in dict.fromkeys(cell.model for cell in run.results.cells if cell.role == "candidate"):
            if not model.startswith(family) and not specs.get(model, "").startswith(family):
                others.add(model)
            elif (point := Point(run, model)).cells:
                points.append(point)
    if others and not points:
        hint = nearest(family, others)
        raise InputError(f"--family: '{family}' is the beginning of no candidate's name or spec; {hint}")
    if len({id(point.run) for point in points}) == len(points):
        return [Series(family or "all candidates", tuple(points))] if points else []
    names = dict.fromkeys(point.model for point in points)
    return [Series(name, tuple(point for point in points if point.model == name)) for name in names]
