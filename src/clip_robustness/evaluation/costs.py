"""What cells cost before they run: forward passes by a table, or the seconds that an earlier run measured.

The same on every machine, so that shards agree about who does what: no data set is listed for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from clip_robustness.conditions.condition import PAIRS, Condition, averaged_by
from clip_robustness.errors import InputError, reason
from clip_robustness.evaluation.settings import Settings
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results.results import read

_FACTS = Path(__file__).parent.parent / "datasets" / "data"
_GRADIENT = 3
"""Forward passes that one with its gradient takes as long as, about."""
_TRIALS = 6
"""Of a search for the smallest eps."""


def plain_and_traced(condition: Condition) -> tuple[float, float]:
    """Forward passes an image, about: without gradients, and with."""
    kind = condition.kind
    times = condition.pairs / PAIRS if "pairs" in kind.options else 1
    if condition.searched and kind.search:
        times *= _TRIALS
    plain, traced = kind.passes
    return times * plain, times * traced


def passes(condition: Condition) -> float:
    """What an image takes, in forward passes."""
    plain, traced = plain_and_traced(condition)
    return plain + _GRADIENT * traced


def images(settings: Settings, condition: Condition) -> int:
    """How many a condition has, each frame of a video one; data sets are taken to be as large as published."""
    published = _published(settings.suite.settings.classes).get(condition.data, {})
    sizes = (published.get("images", 50_000), settings.samples, condition.samples)
    count = min(size for size in sizes if size is not None)
    return count * published.get("frames", 1)


@cache
def _published(classes: str) -> Mapping[str, Mapping[str, int]]:
    file = _FACTS / f"{classes}.json"
    found: Mapping[str, Mapping[str, int]] = json.loads(
        (file if file.is_file() else _FACTS / "imagenet.json").read_text(encoding="utf-8")
    )
    return found


@dataclass(frozen=True)
class Costs:
    """Of what a run computes, in forward passes, or in seconds where `measured` (by condition and model) knows them."""

    settings: Settings
    measured: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def of(self, spec: ModelSpec, condition: Condition) -> float:
        """Of one model under one condition; a mean over cells, or a worst case of some, costs what they do."""
        if condition.kind.averages:
            return sum(self.of(spec, cell) for cell in averaged_by(condition, self.settings.suite.conditions))
        if condition.members:
            return sum(self.of(spec, member) for member in condition.members)
        known = self.measured.get((condition.path, spec.text))
        return self._estimated(condition) * self._seconds_a_pass if known is None else known

    def _estimated(self, condition: Condition) -> float:
        return images(self.settings, condition) * (passes(condition) + condition.kind.drawing)

    @cached_property
    def _seconds_a_pass(self) -> float:
        """Makes what is estimated comparable with what was measured; 1 where nothing was."""
        conditions = {condition.path: condition for condition in self.settings.suite.conditions}
        known = {key: seconds for key, seconds in self.measured.items() if key[0] in conditions}
        estimated = sum(self._estimated(conditions[path]) for path, _ in known)
        return sum(known.values()) / estimated if estimated else 1.0


def read_costs(settings: Settings) -> Costs:
    """From the seconds in the results.json of `--costs`, and the table for cells that it has not or that took no time,
    being stored already. Raises `InputError` for a file that is none."""
    if settings.costs is None:
        return Costs(settings)
    try:
        cells = read(settings.costs).cells
    except (OSError, ValueError) as error:
        said = f"{reason(error)}; give the results.json of an earlier run"
        raise InputError(f"--costs {settings.costs}: {said}") from None
    conditions = [c for c in settings.suite.conditions if not c.kind.averages and not c.members]
    by_label = {(c.family, c.name, tuple(c.params)): c.path for c in conditions}
    measured = {}
    for cell in cells:
        path = by_label.get((cell.family, cell.condition, tuple(cell.params.items())))
        if path and cell.seconds:
            measured[path, cell.model] = cell.seconds
    return Costs(settings, measured)
