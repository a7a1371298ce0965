"""What images can show of a suite's limits, before hours are spent on them: for `--dry-run` and `validate`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clip_robustness.datasets.dataset import Dataset
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.evidence import CORRECTIONS, level
from clip_robustness.metrics.power import POWER, detectable, needed
from clip_robustness.suites.rules import Limit
from clip_robustness.suites.schema import Gate

DISAGREE = 0.2
"""On what share of the images two models, or one model on changed images, are taken to disagree. Half of it gives
differences 0.7 times as large."""
_DROPS = ("max_drop_vs_supervised", "min_drop_vs_supervised", "max_drop_vs_clean", "max_regression")


@dataclass(frozen=True)
class Asked:
    """A limit of a cell, and the images that decide it; None where the cell is not run."""

    limit: Limit
    images: Dataset | None


def deviation(limit: Limit) -> float | None:
    """That of one image, of the figure that a limit bounds; None where it is not foreseen."""
    if limit.name == "min_accuracy":
        return math.sqrt(limit.value * (1 - limit.value))
    return math.sqrt(DISAGREE) if limit.name in _DROPS else None


def forecast(asked: Sequence[Asked], gate: Gate) -> Iterator[str]:
    """A line for each limit on so many images; nothing where none is foreseen. All limits share the gate's alpha."""
    found: Counter[tuple[str, float, int, float, float]] = Counter()
    others: Counter[str] = Counter()
    for limit, images in ((each.limit, each.images) for each in asked):
        of_one = deviation(limit)
        if of_one is None:
            others[limit.name] += 1
        elif images is not None:
            found[limit.name, limit.value, images.counted, _most(images), of_one] += 1
    if not found:
        return
    alpha = level(gate.alpha / 2, 0, len(asked), gate.correction)
    yield (
        f"what fails in {POWER:.0%} of runs, after {CORRECTIONS[gate.correction]} for {len(asked)} limits, where "
        f"models disagree on {DISAGREE:.0%} of the images:"
    )
    for (name, value, n, most, of_one), count in sorted(found.items()):
        effective = n / most
        line = f"{name} {value:g}, {n} images ({count} cells): "
        line += f"{100 * detectable(effective, of_one, alpha):.1f} points beyond it"
        if name != "min_accuracy" and value:
            images_needed = math.ceil(most * needed(value, of_one, alpha))
            line += f"; {100 * value:g} points beyond it need {images_needed} images"
        yield line + (f"; clusters count as {effective:.0f} images, as if their outcomes were the same" * (most > 1))
    if others:
        yield f"not forecast: {', '.join(f'{name} ({count} cells)' for name, count in sorted(others.items()))}"


def _most(images: Dataset) -> float:
    """The largest design effect that clusters may have; 1 without any."""
    anchors = {anchor.id for anchor in images.anchors}
    counted = [sample.clusters for sample in images.samples if not anchors or sample.id in anchors]
    clusters = Clusters.of(counted)
    return clusters.most if clusters else 1.0
