"""Which outcomes the cells of a run are made of: a model's under a condition, each computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from clip_robustness.conditions.condition import CLEAN, Condition, averaged_by, largest, reference
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.models.spec import ModelSpec

Need = tuple[Condition, Sequence[ModelSpec]]


def needs(settings: Settings, cells: Iterable[Cell]) -> Mapping[Condition, list[ModelSpec]]:
    """Condition -> models, in the order in which they are needed. Of conditions of one computation the largest is
    there."""
    found: dict[str, dict[ModelSpec, None]] = defaultdict(dict)
    conditions: dict[str, Condition] = {}
    for cell in cells:
        for condition, models in _of(settings, cell):
            known = conditions.get(condition.computation, condition)
            conditions[condition.computation] = largest((known, condition))
            found[condition.computation].update(dict.fromkeys(models))
    return {conditions[computation]: list(models) for computation, models in found.items()}


def _of(settings: Settings, cell: Cell) -> Iterator[Need]:
    """What measuring one cell asks for; without the data for it the cell is not run."""
    condition, suite = cell.condition.compared, settings.suite
    baselines = () if condition.kind.zero_shot_only else settings.supervised
    everyone = (cell.candidate, *baselines)
    own = averaged_by(condition, suite.conditions) if condition.kind.averages else condition.members or [condition]
    yield from ((each, everyone) for each in own)
    if len(baselines) > 1:  # which of them a candidate is compared with
        yield CLEAN, everyone
    if suite.source(suite.data_of(CLEAN)):  # a verdict counts where the clean images show that labels and models fit
        surrogate = (settings.surrogate,) if condition.on_surrogate and settings.surrogate else ()
        yield reference(condition), (*everyone, *surrogate)
