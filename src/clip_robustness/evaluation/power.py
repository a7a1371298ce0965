"""What a run's images can show of its limits, before hours are spent on them: a part of `--dry-run`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from clip_robustness.datasets.dataset import Dataset
from clip_robustness.errors import NotRunError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.evidence import CORRECTIONS, level
from clip_robustness.metrics.power import POWER, detectable, needed

_DISAGREE = 0.2
"""On what share of the images two models, or one model on changed images, are taken to disagree. Half of it gives
differences 0.7 times as large."""
_DROPS = ("max_drop_vs_supervised", "min_drop_vs_supervised", "max_drop_vs_clean", "max_regression")


def forecast(session: Session, cells: Sequence[Cell]) -> Iterator[str]:
    """A line for each limit on so many images."""
    settings, gate = session.settings, session.settings.suite.gate
    asked = [(cell, limit) for cell in dict.fromkeys(cells) for limit in settings.limits(cell.condition)]
    found: Counter[tuple[str, float, int, float]] = Counter()
    others: Counter[str] = Counter()
    for cell, limit in asked:
        if limit.name != "min_accuracy" and limit.name not in _DROPS:
            others[limit.name] += 1
            continue
        with suppress(NotRunError):
            images = session.images(cell.condition)
            found[limit.name, limit.value, images.counted, _most(images)] += 1
    if not found:
        return
    alpha = level(gate.alpha / 2, 0, len(asked), gate.correction)
    yield ""
    yield (
        f"what fails in {POWER:.0%} of runs, after {CORRECTIONS[gate.correction]} for {len(asked)} limits, where "
        f"models disagree on {_DISAGREE:.0%} of the images:"
    )
    for (name, value, n, most), count in sorted(found.items()):
        deviation = math.sqrt((value * (1 - value) if name == "min_accuracy" else _DISAGREE) * most)
        beyond = detectable(n, deviation, alpha)
        line = f"{name} {value:g}, {n} images ({count} cells): {100 * beyond:.1f} points beyond it"
        if name != "min_accuracy" and value:
            line += f"; {100 * value:g} points beyond it need {math.ceil(needed(value, deviation, alpha))} images"
        yield line + (
            f"; clusters count as {n / most:.0f} images, as if their outcomes were the same" if most > 1 else ""
        )
    if others:
        yield f"not forecast: {', '.join(f'{name} ({count} cells)' for name, count in sorted(others.items()))}"


def _most(images: Dataset) -> float:
    """The largest design effect that clusters may have; 1 without any."""
    anchors = {anchor.id for anchor in images.anchors}
    counted = [sample.clusters for sample in images.samples if not anchors or sample.id in anchors]
    clusters = Clusters.of(counted)
    return clusters.most if clusters else 1.0
