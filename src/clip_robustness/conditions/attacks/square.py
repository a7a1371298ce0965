"""Square Attack (Andriushchenko et al. 2020, algorithm 2): a random search that sees the scores alone.

From vertical stripes at the edge of the ball, a square of random colour at its edge is put somewhere on the image and
kept where the margin to the label shrinks. Squares become smaller by the published schedule.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.attacks.loop import Batch, Method, Methods, Move, Rows
from clip_robustness.conditions.attacks.losses import margin
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack

_HALVES_AFTER = (10, 50, 200, 500, 1000, 2000, 4000)
"""Squares, after which the share of pixels in the next ones is half of what it was; published are also 6000 and 8000,
which five thousand do not reach."""


@dataclass(frozen=True)
class Square(Method):
    """`count` squares, the first of which take the share `largest` of the pixels."""

    count: int = 5000
    largest: float = 0.8
    blind = True

    def steps(self, eps: float) -> int:
        """The first step leads to the stripes."""
        return 1 + self.count

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        batch.memory["best"] = torch.zeros_like(batch.clean)
        batch.memory["margin"] = batch.clean.new_full((len(batch),), -torch.inf)

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        batch.passes += 1
        with torch.inference_mode():
            logits = classifier(batch.now)

        def move(rows: Rows) -> Tensor:
            best, margins, there = batch.memory["best"], batch.memory["margin"], batch.there(rows)
            found = margin(logits[there], batch.labels[there])
            better = (found > margins[there]).cpu().numpy() & (batch.step[rows] > 0)
            chosen = batch.there(rows[better])
            best[chosen], margins[chosen] = batch.now[chosen], found[batch.there(np.flatnonzero(better))]
            moved = best[there]
            for image, row in zip(moved, rows, strict=True):
                self._change(image, batch, row, int(batch.step[row]))
            return moved

        return logits.clone(), move

    def _change(self, image: Tensor, batch: Batch, row: int, step: int) -> None:
        """Stripes at step 0, later a square, which are put on the best image so far in place: copies take long."""
        rng, clean, eps = batch.rng(row), batch.clean[row], batch.eps[row]
        side = clean.shape[-1]
        if step == 0:
            image[:] = clean + eps * _signs(rng, (3, 1, side)).to(clean)
            return
        wide = self.width(step - 1, side)
        top, left = (int(rng.random() * (side - wide)) for _ in range(2))
        there = (slice(None), slice(top, top + wide), slice(left, left + wide))
        image[there] = clean[there] + eps * _signs(rng, (3, 1, 1)).to(clean)

    def width(self, index: int, side: int) -> int:
        """Of a square, by its index, in an image of this width."""
        share = self.largest / 2 ** bisect_left(_HALVES_AFTER, index)
        return min(max(round(math.sqrt(share) * side), 1), side)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(2 * rng.integers(0, 2, shape, np.int8) - 1)


SQUARE = Square()


@attack(
    "square",
    access="black-box",
    runner="in_loop",
    passes=(3300, 0),
    pictured=False,
    source="Andriushchenko et al. 2020",
)
def square(_: Context) -> Methods:
    return (SQUARE,)
