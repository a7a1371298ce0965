"""Right under all of several conditions, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from clip_robustness.errors import InputError
from clip_robustness.metrics.outcomes import Outcomes, in_common

_OVER_MEMBERS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "smallest_eps": lambda values: values.min(0),
    "zero_gradient": lambda values: values.min(0),  # a member that had a gradient saw what the others did not
    "passes": lambda values: values.sum(0),
    "queries": lambda values: values.sum(0),
}
"""What is known of images that all members tell of, (members, n)."""


def right_under_all(members: Mapping[str, Outcomes]) -> Outcomes:
    """Of the images that all of the members could read, each with the prediction of the first member, by name, that it
    is wrong under.

    Raises `InputError` where they have no image in common.
    """
    kept = in_common([*members.values()])  # all in the order of their ids
    ids, labels = kept[0].ids, kept[0].labels
    if not ids:
        raise InputError(f"{', '.join(members)} have no image in common, so there is no worst case of them")
    correct = np.array([outcomes.correct for outcomes in kept])
    worst = (~correct).argmax(0)  # the first where all are right
    predictions = np.array([outcomes.predictions for outcomes in kept])[worst, np.arange(len(worst))]
    told = [name for name in _OVER_MEMBERS if all(name in outcomes.measures for outcomes in kept)]
    notes = [f"{name}: {note}" for name, outcomes in members.items() for note in outcomes.notes]
    if alone := len(set().union(*(outcomes.ids for outcomes in members.values()))) - len(ids):
        notes.append(f"{alone} images that not all members have are left out")
    return Outcomes(
        ids=ids,
        labels=labels,
        predictions=predictions,
        correct=np.asarray(correct.all(0)),
        unreadable=tuple(dict.fromkeys(id for outcomes in members.values() for id in outcomes.unreadable)),
        fault=next((outcomes.fault for outcomes in members.values() if outcomes.fault), ""),
        seconds=sum(outcomes.seconds for outcomes in members.values()),
        measures={name: _OVER_MEMBERS[name](np.array([o.measures[name] for o in kept])) for name in told},
        notes=tuple(dict.fromkeys(notes)),
    )
