"""What images can show of a suite's limits, before hours are spent on them, and how many images that takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clip_robustness import registry
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import number_of
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.evidence import CORRECTIONS, level
from clip_robustness.metrics.power import POWER, detectable, needed
from clip_robustness.suites.rules import Limit
from clip_robustness.suites.schema import Gate
from clip_robustness.suites.suite import Suite

if TYPE_CHECKING:  # a suite that asks for it is sized before every collection
    from clip_robustness.datasets.dataset import Dataset

DISAGREE = 0.2
"""On what share of the images two models, or one model on changed images, are taken to disagree. Half of it gives
differences 0.7 times as large."""
_DROPS = ("max_drop_vs_supervised", "min_drop_vs_supervised", "max_drop_vs_clean", "max_regression")


@dataclass(frozen=True)
class Asked:
    """A limit of a cell, and the images that decide it; None where the cell is not run. `design_effect` is that of its
    clusters where it is declared."""

    limit: Limit
    images: Dataset | None
    design_effect: float | None = None


def deviation(limit: Limit) -> float | None:
    """That of one image, of the figure that a limit bounds; None where it is not foreseen."""
    if limit.name == "min_accuracy":
        return math.sqrt(limit.value * (1 - limit.value))
    return math.sqrt(DISAGREE) if limit.name in _DROPS else None


def sized(suite: Suite, limits: Callable[[Condition], Sequence[Limit]], candidates: int) -> Suite:
    """With as many images for each condition as show, where models are as is foreseen, what `[gate] detect` asks for;
    never more than its `samples`.

    A condition keeps these where it is the reference of others, where a limit of it is not foreseen, and where images
    belong together and nobody declares their design effect.
    """
    if suite.gate.detect is None:
        return suite
    total = candidates * sum(len(limits(condition)) for condition in suite.conditions)

    def enough(condition: Condition) -> Condition:
        deviations = [deviation(limit) for limit in limits(condition)]
        data = suite.data_of(condition)
        of_itself = registry.knows("shift", data) and registry.find("shift", data).options.get("clustered")
        unknown = of_itself or suite.clusters(data)
        effect = declared(suite, condition) or (None if unknown else 1.0)
        if effect is None or condition.kind.is_reference or not deviations or None in deviations:
            return condition
        of_one = max(each for each in deviations if each is not None)
        count = math.ceil(effect * needed(suite.gate.detect or 1, of_one, _alpha(suite.gate, total)))
        return replace(condition, samples=count if condition.samples is None else min(count, condition.samples))

    return replace(suite, conditions=tuple(map(enough, suite.conditions)))


def declared(suite: Suite, condition: Condition) -> float | None:
    """The design effect of a condition's images where the suite tells it."""
    return suite.settings.design_effects.get(suite.data_of(condition))


def too_few(limit: Limit, n: float, total: int, gate: Gate) -> str:
    """What so many independent images show of one of `total` limits, where that is less than `[gate] detect` asks for;
    '' where it is not, or nobody asks."""
    of_one = deviation(limit)
    if gate.detect is None or of_one is None:
        return ""
    beyond = detectable(n, of_one, _alpha(gate, total))
    if beyond <= gate.detect * 1.001:  # images are counted
        return ""
    return (
        f"{limit.name}: as many images as {n:.0f} independent ones show {100 * beyond:.1f} points beyond it, not the "
        f"{100 * gate.detect:g} of [gate] detect"
    )


def _alpha(gate: Gate, total: int) -> float:
    return level(gate.alpha / 2, 0, total, gate.correction)


def forecast(asked: Sequence[Asked], gate: Gate) -> Iterator[str]:
    """A line for each limit on so many images; nothing where none is foreseen. All limits share the gate's alpha."""
    found: Counter[tuple[str, float, int, float, float, bool]] = Counter()
    others: Counter[str] = Counter()
    most: dict[int, float] = {}
    for each in asked:
        of_one = deviation(each.limit)
        if of_one is None:
            others[each.limit.name] += 1
        elif each.images is not None:
            most[id(each.images)] = most.get(id(each.images)) or _most(each.images)
            effect = each.design_effect or most[id(each.images)]
            key = each.limit.name, each.limit.value, each.images.counted, effect, of_one, each.design_effect is not None
            found[key] += 1
    if not found:
        return
    alpha = _alpha(gate, len(asked))
    yield (
        f"what fails in {POWER:.0%} of runs, after {CORRECTIONS[gate.correction]} for {len(asked)} limits, where "
        f"models disagree on {DISAGREE:.0%} of the images:"
    )
    for (name, value, n, effect, of_one, known), count in sorted(found.items()):
        beyond = detectable(n / effect, of_one, alpha)
        line = f"{name} {value:g}, {number_of(n, 'image')} ({number_of(count, 'cell')}): "
        line += f"{100 * beyond:.1f} points beyond it" if beyond < 1 else "nothing"
        aims = [value] if name != "min_accuracy" and value else []
        for aim in dict.fromkeys([*aims, gate.detect] if gate.detect and beyond > 1.001 * gate.detect else aims):
            line += f"; {100 * aim:g} points beyond it need {math.ceil(effect * needed(aim, of_one, alpha))} images"
            line += ", as [gate] detect asks for" if aim == gate.detect else ""
        if effect > 1:
            line += f"; clusters count as {n / effect:.0f} images, "
            line += "by the declared design effect" if known else "as if their outcomes were the same"
            line += "; detect takes all of them without [design_effects]" if gate.detect and not known else ""
        yield line
    if others:
        left = [f"{name} ({number_of(count, 'cell')})" for name, count in sorted(others.items())]
        yield f"not forecast: {', '.join(left)}"


def _most(images: Dataset) -> float:
    """The largest design effect that clusters may have; 1 without any."""
    anchors = {anchor.id for anchor in images.anchors}
    counted = [sample.clusters for sample in images.samples if not anchors or sample.id in anchors]
    clusters = Clusters.of(counted)
    return clusters.most if clusters else 1.0
