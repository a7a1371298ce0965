"""Which cells run where and in which order: pure functions of the cells and their costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from clip_robustness.conditions.condition import Condition, largest
from clip_robustness.evaluation.costs import Costs
from clip_robustness.evaluation.settings import Cell


@dataclass(frozen=True)
class Unit:
    """Cells that belong together: their images are changed once, their baselines and what is crafted on a surrogate
    are computed once, if one process has them all."""

    cells: tuple[Cell, ...]
    cost: float


def units(cells: Sequence[Cell], costs: Costs, parts: int) -> list[Unit]:
    """The cells of each computation, in their order; one that is more than a fair share of `parts` model by model. A
    mean over cells that are there, and a worst case of some, cost nothing: they read them."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.condition.computation].append(cell)
    names = {cell.condition.name for cell in cells}

    def reads(condition: Condition) -> bool:
        members = condition.members
        return condition.kind.averages in names or (bool(members) and {m.computation for m in members} <= groups.keys())

    whole = [Unit(tuple(group), 0.0) if reads(group[0].condition) else _unit(group, costs) for group in groups.values()]
    fair = sum(unit.cost for unit in whole) / parts
    return [part for unit in whole for part in ([unit] if unit.cost <= fair else _by_model(unit, costs))]


def _by_model(unit: Unit, costs: Costs) -> list[Unit]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in unit.cells:
        groups[cell.candidate.text].append(cell)
    return [_unit(group, costs) for group in groups.values()]


def _unit(cells: Sequence[Cell], costs: Costs) -> Unit:
    """What cells of one computation cost: the baselines', and each candidate's, once."""
    condition = largest(cell.condition for cell in cells)
    baselines = () if condition.kind.zero_shot_only else costs.settings.supervised
    models = dict.fromkeys([*(cell.candidate for cell in cells), *baselines])
    return Unit(tuple(cells), sum(costs.of(spec, condition) for spec in models))


def dearest_first(found: Iterable[Unit]) -> list[Unit]:
    return sorted(found, key=lambda unit: (-unit.cost, unit.cells[0].id))


def shard(cells: Sequence[Cell], costs: Costs, index: int, count: int) -> set[Cell]:
    """Those of `cells` that shard `index` of 1 ... `count` runs: the dearest units first, each to the shard with the
    least to do. The shards are disjoint and together complete, and depend on nothing but the arguments."""
    loads = [0.0] * count
    mine: set[Cell] = set()
    found = units(cells, costs, count)
    for name in sorted({cell.condition.kind.averages for cell in cells} - {""}):
        found = _with_its_mean(found, name, count, costs)
    for worst in dict.fromkeys(cell.condition for cell in cells if cell.condition.members):
        found = _with_its_members(found, worst, count, costs)
    for unit in dearest_first(found):
        least = loads.index(min(loads))
        loads[least] += unit.cost
        if least == index - 1:
            mine.update(unit.cells)
    return mine


def _with_its_mean(found: list[Unit], name: str, count: int, costs: Costs) -> list[Unit]:
    """A mean over cells, and these."""
    means = [unit for unit in found if unit.cells[0].condition.kind.averages == name]
    own = [unit for unit in found if unit.cells[0].condition.name == name]
    return _beside(found, own, means, count, costs)


def _with_its_members(found: list[Unit], worst: Condition, count: int, costs: Costs) -> list[Unit]:
    """A worst case, and what it is made of."""
    members = {member.computation for member in worst.members}
    alone = [unit for unit in found if {cell.condition for cell in unit.cells} == {worst}]
    own = [unit for unit in found if members & {cell.condition.computation for cell in unit.cells}]
    return _beside(found, own, alone, count, costs)


def _beside(found: list[Unit], own: list[Unit], reading: list[Unit], count: int, costs: Costs) -> list[Unit]:
    """What reads other cells beside these, in the shard that computes them anyway, if they are no more than its fair
    share; else it computes them once more."""
    others = [unit for unit in found if unit not in own and unit not in reading]
    cost = sum(unit.cost for unit in own)
    if not own or cost > (cost + sum(unit.cost for unit in others)) / count:
        return [*own, *others, *(_unit(unit.cells, costs) for unit in reading)]
    return [*others, Unit(tuple(cell for unit in (*own, *reading) for cell in unit.cells), cost)]


def informative_first(cells: Sequence[Cell], costs: Costs) -> list[Cell]:
    """For a run that may end early: the clean references, which comparisons stand on, then what the gate decides, then
    what is a known weakness or not gated. Among equals the families take turns, each with its cheapest condition, and
    the candidates under a condition stay together; means come after what they are the mean of."""
    settings = costs.settings

    def rank(unit: Unit) -> int:
        conditions = {cell.condition for cell in unit.cells}
        if any(condition.kind.is_reference for condition in conditions):
            return 0
        return 1 if any(map(settings.firm, conditions)) else 2

    ordered: list[Cell] = []
    found = sorted(units(cells, costs, 1), key=lambda unit: (bool(unit.cells[0].condition.kind.averages), unit.cost))
    for wanted in (0, 1, 2):
        turns: dict[str, list[Unit]] = defaultdict(list)
        for unit in found:
            if rank(unit) == wanted:
                turns[unit.cells[0].condition.family].append(unit)
        families = [turns[name] for name in sorted(turns)]
        ordered += [cell for turn in zip_longest(*families) for unit in turn if unit for cell in unit.cells]
    return ordered
