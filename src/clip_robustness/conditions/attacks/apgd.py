"""Auto-PGD (Croce & Hein 2020, section 4): projected gradient steps with momentum, whose size halves for an image, back
at its best point, where at a checkpoint its loss has not grown often enough, or not at all since the one before.

On the cross-entropy, or one run for each of the most likely wrong classes on the targeted difference-of-logits-ratio
loss (section 5 and appendix B). Each run begins at a random point on the surface of the ball.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_robustness.conditions.attacks.gradient import drawn
from clip_robustness.conditions.attacks.loop import (
    Batch,
    Method,
    Methods,
    Move,
    Rows,
    in_order,
    looked,
    of_rows,
    per_image,
    projected,
    to_trace,
)
from clip_robustness.conditions.attacks.losses import Loss, ascent, cross_entropy
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack

_NEEDED_BY_DLR = 4
"""Classes: its denominator is the best logit above the mean of the third and the fourth."""
_FIRST_STEP = 2.0
"""In eps."""


def checkpoints(count: int) -> tuple[int, ...]:
    """The iterations, out of `count`, at which step sizes are looked at: 22, 41, 57, ... of 100."""
    gap, found = max(int(0.22 * count), 1), [0]
    while found[-1] + gap <= count:
        found.append(found[-1] + gap)
        gap = max(gap - max(int(0.03 * count), 1), max(int(0.06 * count), 1))
    return tuple(found[1:])


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """How far the target is above the label, relative to the spread of the best logits, (n,); with fewer than four
    classes, which have no such spread, in logits."""
    both = logits.gather(1, torch.stack([labels, targets], 1))
    gap = both[:, 1] - both[:, 0]
    if logits.shape[1] < _NEEDED_BY_DLR:
        return gap
    best = logits.topk(_NEEDED_BY_DLR, dim=1).values
    return gap / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + 1e-12)


@dataclass(frozen=True)
class APGD(Method):
    """A run of `count` iterations; with `targets` one for each of so many classes, or for all others where there are
    fewer. `rho` of the steps between checkpoints must have raised the loss; a step is `momentum` new, the rest is the
    step before it."""

    targets: int = 0
    count: int = 100
    rho: float = 0.75
    momentum: float = 0.75

    @cached_property
    def _windows(self) -> NDArray[np.int64]:
        """Iterations -> how many there were since the last checkpoint, where there is one; else 0."""
        windows, before = np.zeros(1 + self.count, np.int64), 0
        for checkpoint in checkpoints(self.count):
            windows[checkpoint], before = checkpoint - before, checkpoint
        return windows

    def steps(self, eps: float) -> int:
        """A run's first step leads to its random start."""
        return max(self.targets, 1) * (1 + self.count)

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        targets = min(self.targets, len(classifier.classes) - 1)
        batch.steps = batch.steps.clip(max=max(targets, 1) * (1 + self.count))
        batch.memory["targets"] = batch.labels.new_zeros(len(batch), targets)
        batch.memory |= {name: torch.zeros_like(batch.clean) for name in ("before", "best", "best_gradient")}
        batch.memory |= {name: batch.clean.new_zeros(len(batch)) for name in ("loss", "best_loss", "checked", "size")}
        batch.memory |= {"rises": torch.zeros_like(batch.labels), "halved": torch.zeros_like(batch.zero_gradient)}

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        """Only images on their way in a run need a gradient: not the clean ones, nor those at a run's end."""
        batch.passes += 1

        def trace(rows: Rows) -> tuple[Tensor, Tensor]:
            seen = to_trace(batch, rows)
            return seen, classifier(seen)

        logits, traced, seen, theirs = looked(classifier, batch, self._at(batch) == 0, trace)
        if len(clean := np.flatnonzero(batch.step == 0)):
            there, targets = batch.there(clean), batch.memory["targets"]
            targets[there] = logits[there].topk(1 + targets.shape[1], dim=1).indices[:, 1:]

        def move(rows: Rows) -> Tensor:
            parts = list[tuple[Rows, Tensor]]()
            if len(starting := rows[self._at(batch)[rows] == 0]):
                there, start = batch.there(starting), drawn(batch, starting)
                start /= start.abs().amax((1, 2, 3), keepdim=True)
                parts.append((starting, batch.clean[there] + batch.eps[there] * start))
            if len(going := rows[self._at(batch)[rows] > 0]):
                place, labels = batch.there(np.searchsorted(traced, going)), batch.labels[batch.there(going)]
                losses, gradient = ascent(self._loss(batch, going), of_rows(theirs, place), labels, seen)
                parts.append((going, self._step(batch, going, losses, of_rows(gradient, place))))
            return in_order(batch, parts)

        return logits, move

    def _at(self, batch: Batch) -> NDArray[np.int64]:
        """0: at the end of a run, or before the first; then 1 at its random start, and one more each iteration."""
        return batch.step % (1 + self.count)

    def _loss(self, batch: Batch, rows: Rows) -> Loss:
        if not self.targets:
            return cross_entropy
        run = batch.there(batch.step[rows] // (1 + self.count))
        targets = batch.memory["targets"][batch.there(rows), run]
        return lambda logits, labels: targeted_dlr(logits, labels, targets)

    def _step(self, batch: Batch, going: Rows, losses: Tensor, gradient: Tensor) -> Tensor:
        """Where those go from where they are, whose losses and gradients these are."""
        rows, done = batch.there(going), self._at(batch)[going] - 1
        size = gradient.abs().sum((1, 2, 3))
        batch.zero_gradient[rows] |= ~(size > 0) | ~size.isfinite()
        now, clean, eps = batch.now[rows], batch.clean[rows], batch.eps[rows]
        known = {name: value[rows] for name, value in batch.memory.items()}
        first, window = batch.there(done == 0), batch.there(self._windows[done])
        checking = window > 0

        better = first | (losses > known["best_loss"])
        best_loss = torch.where(better, losses, known["best_loss"])
        best, best_gradient = (
            torch.where(per_image(better), new, known[name])
            for name, new in (("best", now), ("best_gradient", gradient))
        )
        rises = torch.where(first, 0, known["rises"] + (losses > known["loss"]))
        stuck = ~known["halved"] & (best_loss <= known["checked"])
        halving = checking & ((rises <= self.rho * window) | stuck)
        size = torch.where(first, _FIRST_STEP, known["size"]) / torch.where(halving, 2.0, 1.0)
        start = torch.where(per_image(halving), best, now)
        direction = torch.where(per_image(halving), best_gradient, gradient).sign()

        changed = {
            "before": start,
            "best": best,
            "best_gradient": best_gradient,
            "best_loss": best_loss,
            "loss": losses,
            "checked": torch.where(first, losses, torch.where(checking, best_loss, known["checked"])),
            "rises": torch.where(checking, 0, rises),
            "halved": first | torch.where(checking, halving, known["halved"]),
            "size": size,
        }
        for name, value in changed.items():
            batch.memory[name][rows] = value
        there = projected(start + per_image(size) * eps * direction, clean, eps).clamp(0, 1)
        slowed = start + self.momentum * (there - start) + (1 - self.momentum) * (start - known["before"])
        return torch.where(per_image(first), there, slowed)


APGD_CE, APGD_T = APGD(), APGD(targets=9)


@attack(
    "apgd-ce",
    access="white-box",
    runner="in_loop",
    passes=(1, 65),
    pictured=False,
    source="Croce & Hein 2020, section 4",
)
def apgd_ce(_: Context) -> Methods:
    return (APGD_CE,)


@attack(
    "apgd-t",
    access="white-box",
    runner="in_loop",
    passes=(1, 600),
    pictured=False,
    source="Croce & Hein 2020, section 5",
)
def apgd_t(_: Context) -> Methods:
    return (APGD_T,)
