"""The smallest eps that fools a model, by bisection over many images at once, each with its own bracket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clip_robustness.metrics.outcomes import NEVER

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
