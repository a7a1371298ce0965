"""White-box attacks that follow the sign of the loss's gradient within an L-infinity ball.

`fgsm` is the fast gradient sign method (Goodfellow et al. 2015), `bim` its iteration (Kurakin et al. 2017), `mim` with
momentum (Dong et al. 2018), `dim` with momentum and diverse inputs (Xie et al. 2019), `pgd` from random points (Madry
et al. 2018). Steps are shares of eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.conditions.attacks.loop import (
    Batch,
    Method,
    Methods,
    Move,
    Rows,
    in_order,
    looked,
    of_rows,
    to_trace,
)
from clip_robustness.conditions.attacks.losses import Loss, ascent, cross_entropy
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack

_STEP = 0.15
_SMALL = 0.5
"""A forward pass costs about half of one with its gradient."""


def bim_steps(eps: float) -> int:
    """min(255 eps + 4, 1.25 x 255 eps), 10 at eps 8/255; never fewer than cross the ball's radius.

    The benchmark's formula alone leaves a single step of 0.15 eps at eps 1/255, an attack weaker than FGSM.
    """
    units = 255 * eps
    return max(round(min(units + 4, 1.25 * units)), math.ceil(1 / _STEP))


@dataclass(frozen=True)
class SignSteps(Method):
    """Steps of `size` x eps along the gradient's sign; with momentum, along the sign of the sum of L1-normalised
    gradients, decayed by `momentum` a step; `diverse` looks at the images resized and padded at random. With `starts`
    all steps are taken from so many random points of the ball, one after the other, else once from the image."""

    count: int | Callable[[float], int]
    size: float = _STEP
    momentum: float | None = None
    diverse: bool = False
    loss: Loss = cross_entropy
    starts: int = 0

    def steps(self, eps: float) -> int:
        count = self.count(eps) if callable(self.count) else self.count
        return self.starts * (1 + count) if self.starts else count

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        if self.momentum is not None:
            batch.memory["direction"] = torch.zeros_like(batch.clean)

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        """Images after their last step need no gradient. Those that probably were fooled are looked at without one, and
        once more with it if they stand; so are those that are fooled as they are, but shown in another way."""
        batch.passes += 1
        views = self._views(batch)
        elsewhere = np.array([view is not None for view in views])
        starting = batch.step % (batch.steps // self.starts) == 0 if self.starts else np.zeros(len(batch), bool)
        without = (batch.step >= batch.steps) | starting
        if batch.survival is not None:
            without |= (batch.step > 0) & (batch.survival < _SMALL) | elsewhere
        trace = partial(self._traced, classifier, batch, views)
        looks, traced, seen, theirs = looked(classifier, batch, without, trace)

        def move(rows: Rows) -> Tensor:
            """Gradients of the traced images come from the pass that found out that they stand."""
            anew, early, late = (rows[mask[rows]] for mask in (starting, ~without, without & ~starting))
            parts = list[tuple[Rows, Tensor]]()
            if len(anew):
                there = batch.there(anew)
                parts.append((anew, batch.clean[there] + batch.eps[there] * drawn(batch, anew)))
            if len(early):
                place = batch.there(np.searchsorted(traced, early))
                parts.append((early, self._moved(batch, early, seen, theirs, place)))
            if len(late):
                batch.passes[late] += elsewhere[late]  # else the same is looked at again for what became of others
                again, logits = trace(late)
                parts.append((late, self._moved(batch, late, again, logits, batch.there(np.arange(len(late))))))
            return in_order(batch, parts)

        return looks, move

    def _views(self, batch: Batch) -> list[View | None]:
        """How each image is shown to find its step, each by its own draw; those after their last step draw no more."""
        side, before_last = batch.clean.shape[-1], self.diverse & (batch.step < batch.steps)
        return [view(batch.rng(row), side) if before_last[row] else None for row in range(len(batch))]

    @staticmethod
    def _traced(
        classifier: Classifier, batch: Batch, views: Sequence[View | None], rows: Rows
    ) -> tuple[Tensor, Tensor]:
        """Images and their logits, ready for a gradient. That of a slice is as large as the batch, those of a split are
        one."""
        seen = to_trace(batch, rows)
        if not any(views[row] for row in rows):
            return seen, classifier(seen)
        one_by_one = zip(seen.split(1), rows, strict=True)
        return seen, classifier(torch.cat([viewed(image, views[row]) for image, row in one_by_one]))

    def _moved(self, batch: Batch, standing: Rows, seen: Tensor, logits: Tensor, place: Tensor) -> Tensor:
        """Where those that stand go; in `seen` and `logits` they have these places."""
        rows = batch.there(standing)
        _, gradient = ascent(self.loss, of_rows(logits, place), batch.labels[rows], seen)
        gradient = of_rows(gradient, place).contiguous()  # a network's order of memory may not be that of the images
        size = gradient.abs().mean((1, 2, 3), keepdim=True)
        batch.zero_gradient[rows] |= ~(size.flatten() > 0) | ~size.flatten().isfinite()
        if self.momentum is not None:
            direction = self.momentum * of_rows(batch.memory["direction"], rows)
            gradient = direction + gradient / size.clamp_min(torch.finfo(size.dtype).tiny)
            batch.memory["direction"][rows] = gradient
        return of_rows(batch.now, rows) + self.size * batch.eps[rows] * gradient.sign()


View = tuple[int, int, int]
"""How large an image is shown, and where from the left and from the top."""


def view(rng: np.random.Generator, side: int, probability: float = 0.5, smallest: float = 0.9) -> View | None:
    """With some probability smaller, between `smallest` and 1 of its side, at a random place; None: as it is."""
    small = int(rng.integers(int(side * smallest), side))
    left, top = (int(rng.integers(0, side - small)) for _ in range(2))
    return (small, left, top) if rng.random() < probability else None


def viewed(image: Tensor, view: View | None) -> Tensor:
    """An image (1, 3, side, side) resized and padded with zeros; differentiable."""
    if view is None:
        return image
    side, (small, left, top) = image.shape[-1], view
    resized = F.interpolate(image, size=(small, small), mode="bilinear", align_corners=False)
    return F.pad(resized, (left, side - small - left, top, side - small - top))


def drawn(batch: Batch, rows: Rows) -> Tensor:
    """Uniform in [-1, 1), shaped like the images, each drawn by its image."""
    return 2 * batch.there(np.stack([batch.rng(row).random(batch.clean.shape[1:], np.float32) for row in rows])) - 1


FGSM = SignSteps(1, size=1.0)
BIM = SignSteps(bim_steps)
MIM = SignSteps(20, momentum=1.0)
PGD = SignSteps(40, size=1 / 4, starts=5)


@attack(
    "fgsm", access="white-box", runner="in_loop", search=True, options=("normalized", "rounded"), passes=(1, 1),
    draws=False, source="Goodfellow et al. 2015",
)  # fmt: skip
def fgsm(_: Context) -> Methods:
    return (FGSM,)


@attack(
    "bim", access="white-box", runner="in_loop", search=True, options=("normalized", "rounded"), passes=(1, 5),
    stronger_than=("fgsm", "nes", "spsa", "transfer-bim", "transfer-dim", "transfer-fgsm", "transfer-mim"),
    draws=False, source="Kurakin et al. 2017",
)  # fmt: skip
def bim(_: Context) -> Methods:
    return (BIM,)


@attack(
    "mim", access="white-box", runner="in_loop", search=True, options=("normalized", "rounded"), passes=(1, 12),
    stronger_than=("fgsm",), draws=False, source="Dong et al. 2018",
)  # fmt: skip
def mim(_: Context) -> Methods:
    return (MIM,)


@attack("pgd", access="white-box", runner="in_loop", passes=(1, 130), pictured=False, source="Madry et al. 2018")
def pgd(_: Context) -> Methods:
    return (PGD,)
