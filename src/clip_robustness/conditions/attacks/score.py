"""Black-box attacks that see the scores alone: the gradient of the margin is estimated from pairs of queries.

`nes`: natural evolution strategies with Gaussian directions (Ilyas et al. 2018); `spsa`: random signs (Uesato et al.
2018). Both step by the estimate's sign within an L-infinity ball. No gradient of the victim is ever computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.attacks.loop import Batch, Method, Methods, Move, Rows, of_rows
from clip_robustness.conditions.attacks.losses import margin
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack


@dataclass(frozen=True)
class Estimated(Method):
    """Steps of `size` x eps along the sign of the estimate from `pairs` antithetic pairs at distance `sigma`, pixel
    units; at most `queries` of them are asked at once."""

    directions: Literal["gaussian", "signs"]
    pairs: int = 100
    count: int = 10
    sigma: float = 0.001
    size: float = 0.15
    queries: int = 64
    blind = True

    def steps(self, eps: float) -> int:
        return self.count

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        """Nothing is kept from step to step."""

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        batch.passes += 1
        with torch.inference_mode():
            logits = classifier(batch.now)

        def move(rows: Rows) -> Tensor:
            batch.passes[rows] += 2 * self.pairs
            there = batch.there(rows)
            return batch.now[there] + self.size * batch.eps[there] * self._estimates(classifier, batch, rows).sign()

        return logits.clone(), move

    @torch.inference_mode()
    def _estimates(self, classifier: Classifier, batch: Batch, rows: Rows) -> Tensor:
        """(n, 3, side, side). Images share the batches of queries; each draws its own directions, pair by pair, so that
        they depend on no other image and on no batch size."""
        there, rngs = batch.there(rows), [batch.rng(row) for row in rows]
        images, labels = of_rows(batch.now, there), batch.labels[there]
        totals = torch.zeros_like(images)
        pairs, most = len(rngs) * self.pairs, max(1, self.queries // 2)
        for start in range(0, pairs, most):
            places = [pair // self.pairs for pair in range(start, min(start + most, pairs))]
            counts = {place: places.count(place) for place in places}
            directions = np.stack([self._drawn(rngs[place], images.shape[1:]) for place in places])
            drawn = batch.there(directions).to(images.dtype)
            which = batch.there(np.array(2 * places))
            queries = images[which]
            offsets = self.sigma * drawn
            queries[: len(places)] += offsets
            queries[len(places) :] -= offsets
            above, below = margin(classifier(queries), labels[which]).chunk(2)
            parts = zip((above - below).split([*counts.values()]), drawn.split([*counts.values()]), strict=True)
            for place, (gains, own) in zip(counts, parts, strict=True):
                totals[place] += torch.einsum("n,nchw->chw", gains, own)
        return totals

    def _drawn(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.directions == "gaussian":
            return rng.standard_normal(shape, np.float32)
        return 2 * rng.integers(0, 2, shape, np.int8) - 1


NES, SPSA = Estimated("gaussian"), Estimated("signs")
_SEARCH_STEPS = 20
"""In a search."""


def _asked(method: Estimated, context: Context) -> Methods:
    condition = context.condition
    count = _SEARCH_STEPS if condition.searched else method.count
    return (replace(method, pairs=condition.pairs, queries=context.size, count=count),)


@attack(
    "nes", access="black-box", runner="in_loop", search=True, options=("pairs", "normalized", "rounded"),
    passes=(2800, 0), pictured=False, source="Ilyas et al. 2018",
)  # fmt: skip
def nes(context: Context) -> Methods:
    return _asked(NES, context)


@attack(
    "spsa", access="black-box", runner="in_loop", search=True, options=("pairs", "normalized", "rounded"),
    passes=(2800, 0), pictured=False, source="Uesato et al. 2018",
)  # fmt: skip
def spsa(context: Context) -> Methods:
    return _asked(SPSA, context)
