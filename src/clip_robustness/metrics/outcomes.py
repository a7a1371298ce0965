"""What evaluating a cell gives: one prediction per image, and for videos one verdict per anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clip_robustness.metrics.clusters import Clusters
    from clip_robustness.metrics.intervals import Correct

NEVER = 2.0
"""The smallest eps of an image that no eps up to the largest fools: more than any pixel value can change."""


@dataclass(frozen=True)
class Prediction:
    """What a model made of one image: the class that it predicts, and named figures, such as how often it changed its
    mind along a sequence."""

    prediction: int
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Outcomes:
    """Predictions of one model under one condition, in the order of the image ids.

    `labels` and `predictions` are int64 (n,), `correct` is bool (n,): an image may have more labels than the one here.
    `unreadable` names the images that could not be decoded, `fault` says why the first of them; they are in none of
    them. `seconds` is what was spent
    computing, 0 where everything was known from an earlier run. `others` are accuracies by other measures on the same
    images, `measures` named figures of each image, float64 (n,). `rivals`, int64 (n,), are the classes that images
    pretend to show, by their texture or by a written word; -1: none. `notes` are sentences on how they came about.
    `clusters` are which images belong together, None where no two do; `groups` are the names of those that each image
    is in, () where the data set has none. Of several `seeds` outcomes of the same images follow each other, seed after
    seed.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    correct: Correct
    unreadable: tuple[str, ...] = ()
    fault: str = ""
    seconds: float = 0.0
    others: dict[str, Correct] = field(default_factory=dict)
    measures: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    rivals: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    clusters: Clusters | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    seeds: int = 1

    def only(self, chosen: Sequence[bool] | NDArray[np.bool_]) -> Outcomes:
        """Some of the outcomes, of one seed, or of images that are there under one."""
        at = np.asarray(chosen, bool)
        return replace(
            self,
            ids=tuple(id for id, kept in zip(self.ids, at, strict=True) if kept),
            labels=self.labels[at],
            predictions=self.predictions[at],
            correct=self.correct[at],
            others={name: correct[at] for name, correct in self.others.items()},
            measures={name: values[at] for name, values in self.measures.items()},
            rivals=None if self.rivals is None else self.rivals[at],
            clusters=self.clusters[at] if self.clusters else None,
            groups=tuple(names for names, kept in zip(self.groups, at, strict=True) if kept) if self.groups else (),
            seeds=1,
        )

    def __repr__(self) -> str:
        """Short: it is in the message of every assert about it."""
        return f"Outcomes({np.count_nonzero(self.correct)} of {len(self.ids)} correct)"


def in_common(members: Sequence[Outcomes]) -> list[Outcomes]:
    """Of each those of the images that could be read under all."""
    common = set.intersection(*(set(outcomes.ids) for outcomes in members))
    return [outcomes.only([id in common for id in outcomes.ids]) for outcomes in members]


class Paired(NamedTuple):
    """What two models, or two runs, got right of the same images, bool (n,) in the same order."""

    first: Correct
    second: Correct
    clusters: Clusters | None = None
