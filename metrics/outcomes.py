"""What evaluating a cell gives: one prediction per image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.intervals import Correct


@dataclass(frozen=True)
class Outcomes:
    """Predictions of one model under one condition, in the order of the image ids.

    `labels` and `predictions` are int64 (n,). `unreadable` names the images that could not be decoded; they are in
    neither. `seconds` is what was spent computing, 0 where everything was known from an earlier run.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    unreadable: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def correct(self) -> Correct:
        return self.labels == self.predictions
