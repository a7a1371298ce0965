"""Of several wordings the worst: chosen on one half of the images, and judged by the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clip_robustness.metrics.groups import halves
from clip_robustness.metrics.outcomes import Outcomes

_MEASURE = "wording "


def worst_wording(outcomes: Outcomes, accepted: Sequence[Sequence[int]], names: Sequence[str]) -> Outcomes:
    """The outcomes under the wording that is the worst on the half of the images that is left out, where there are
    several. `accepted` are the right labels of each image, `names` what the wordings are called. The measure `best`
    is whether the best wording of that half is right."""
    if f"{_MEASURE}1" not in outcomes.measures:
        return outcomes
    columns = [outcomes.measures[f"{_MEASURE}{i}"].astype(int) for i in range(len(names))]
    right = np.array([[answer in of for answer, of in zip(c, accepted, strict=True)] for c in columns], bool)
    first = halves(outcomes.ids, outcomes.labels, outcomes.clusters)
    if first.all():
        return outcomes
    shares, rest = right[:, first].mean(1), ~first
    worst, best = int(shares.argmin()), int(shares.argmax())
    said = f"of {len(names)} wordings the worst is '{names[worst]}' and the best '{names[best]}', by the other images"
    return replace(
        outcomes.only(rest),
        predictions=columns[worst][rest],
        correct=right[worst][rest],
        measures={"best": right[best][rest].astype(float)},
        notes=(*outcomes.notes, f"{int(rest.sum())} of {len(rest)} images count: {said}"),
    )
