"""Outcomes of the same images under several seeds.

Random numbers belong to the image, so one seed does nothing to all images at once: seeds of an image are a cluster of
outcomes, images are independent, and the variance between images has that between seeds in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtri

from clip_robustness.metrics.intervals import Estimate
from clip_robustness.metrics.outcomes import Outcomes, in_common

_MARK = "#seed"


def image_of(id: str) -> str:
    """The id of the image that an outcome is of."""
    name, mark, seed = id.rpartition(_MARK)
    return name if mark and seed.isdecimal() else id


def of_seeds(members: Sequence[Outcomes]) -> Outcomes:
    """Those of all seeds, one after the other, of the images that could be read under each; ids of the first seed are
    those of the images."""
    kept = in_common(members)
    ids = [f"{id}{_MARK}{seed}" if seed else id for seed, outcomes in enumerate(kept) for id in outcomes.ids]
    measures = {name: np.concatenate([o.measures[name] for o in kept]) for name in kept[0].measures}
    rivals = [o.rivals for o in kept if o.rivals is not None]
    return Outcomes(
        ids=tuple(ids),
        labels=np.concatenate([o.labels for o in kept]),
        predictions=np.concatenate([o.predictions for o in kept]),
        correct=np.concatenate([o.correct for o in kept]),
        measures=measures,
        rivals=np.concatenate(rivals) if len(rivals) == len(kept) else None,
        unreadable=tuple(dict.fromkeys(id for outcomes in members for id in outcomes.unreadable)),
        fault=next((outcomes.fault for outcomes in members if outcomes.fault), ""),
        seconds=sum(outcomes.seconds for outcomes in members),
        notes=tuple(dict.fromkeys(note for outcomes in members for note in outcomes.notes)),
        seeds=len(members),
    )


def of_first_seed(outcomes: Outcomes) -> Outcomes:
    """Those of the first seed alone: as if there were no others."""
    if outcomes.seeds == 1:
        return outcomes
    n = len(outcomes.ids) // outcomes.seeds
    return outcomes.only([i < n for i in range(len(outcomes.ids))])


def spread(outcomes: Outcomes) -> Estimate | None:
    """The standard deviation of the accuracy between seeds on the same images, with its interval by the chi-squared
    distribution; None of one seed."""
    k = outcomes.seeds
    if k < 2:
        return None
    deviation = float(outcomes.correct.reshape(k, -1).mean(1).std(ddof=1))
    low, high = (deviation * math.sqrt((k - 1) / chdtri(k - 1, tail)) for tail in (0.025, 0.975))
    return Estimate(deviation, low, high)
