"""The smallest eps that fools a model, by bisection over many images at once, each with its own bracket."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clip_robustness.conditions.context import Answers, Batch
from clip_robustness.metrics.outcomes import NEVER, Prediction

Floats = NDArray[np.float64]
Trial = Callable[[NDArray[np.int64], Floats], tuple[NDArray[np.bool_], Floats]]
"""Indices of images and an eps for each -> whether each was fooled, and the size of the perturbation that did it."""


def smallest_eps(
    trial: Trial, count: int, *, start: float = 2 / 255, largest: float = 64 / 255, tolerance: float = 0.01
) -> Floats:
    """Eps (count,): the geometric middles of brackets no wider than `tolerance`, relative to their upper ends; `NEVER`
    where no eps fooled. The ends would be too robust, or not robust enough, by half of that in the mean.

    From `start` eps grows fourfold until the image is fooled. The bracket's upper end is then the size of the
    perturbation, which may be far under the eps that was allowed, and its lower end the last eps that did not fool.
    An attack that is not monotone in eps may have a smaller one that this does not find.
    """
    low, high = np.zeros(count), np.full(count, NEVER)
    eps = np.full(count, start)
    active = np.arange(count)
    while len(active):
        fooled, sizes = trial(active, eps[active])
        won, lost = active[fooled], active[~fooled]
        high[won] = np.minimum(sizes[fooled], eps[won])
        low[lost] = eps[lost]
        unknown = high == NEVER
        # The geometric middle, but for the first step down, which has no lower end yet.
        middle = np.where(low > 0, np.sqrt(low * high), high / 2)
        eps = np.where(unknown, np.minimum(4 * eps, largest), middle)
        open_brackets = np.where(unknown, low < largest, high - low > tolerance * high)
        active = active[open_brackets[active] & (high[active] > 1e-5)]
    bracketed = (low > 0) & (low < high) & (high < NEVER)
    return np.where(bracketed, np.sqrt(low * high), high)


class Best:
    """What a search has seen of each image: the prediction when it was last fooled, and all forward passes, which are
    measured as `passes` says."""

    def __init__(self, count: int, passes: str) -> None:
        self._predictions, self._passes, self._called = [-1] * count, [0] * count, passes

    def note(
        self, chosen: NDArray[np.int64], predictions: Sequence[int], fooled: NDArray[np.bool_], passes: Sequence[int]
    ) -> None:
        for i, prediction, lost, count in zip(chosen.tolist(), predictions, fooled, passes, strict=True):
            self._passes[i] += count
            if lost:
                self._predictions[i] = prediction

    def answers(self, batch: Batch, smallest: Floats) -> Answers:
        return [
            (sample, Prediction(prediction, {"smallest_eps": float(eps), self._called: float(passes)}))
            for (sample, _), prediction, passes, eps in zip(
                batch, self._predictions, self._passes, smallest, strict=True
            )
        ]
