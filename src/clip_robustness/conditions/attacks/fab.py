"""FAB, the fast adaptive boundary attack (Croce & Hein 2020b), targeted: looks for the smallest perturbation that
reaches the boundary to a class, in the L-infinity norm, and has fooled a model as soon as one lies within the ball.

Each iteration projects the current point and the image itself onto the boundary of the model made linear, within the
range of pixels, and goes a little beyond a mean of the two; from beyond the model's own boundary it steps back towards
the image. A run for each of the most likely wrong classes, which is what suits many classes (Croce & Hein 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.attacks.loop import Batch, Method, Methods, Move, Rows, in_order, per_image
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack

_SMALLEST = 1e-8
"""A distance, where one is divided by."""


@dataclass(frozen=True)
class FAB(Method):
    """`count` iterations for each of `targets` classes, or of all others where there are fewer. The image's share of a
    step is at most `bias`, a step is `overshoot` times as long as needed, and `back` is what is left of a perturbation
    after a step back."""

    targets: int = 9
    count: int = 100
    bias: float = 0.1
    overshoot: float = 1.05
    back: float = 0.9
    wanders = True

    def steps(self, eps: float) -> int:
        return self.targets * self.count

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        targets = min(self.targets, len(classifier.classes) - 1)
        batch.steps = batch.steps.clip(max=targets * self.count)
        batch.memory["targets"] = batch.labels.new_zeros(len(batch), targets)

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        """A point on this side of the boundary is gone on from with the pass that showed where it lies."""
        batch.passes += 1
        seen = batch.now.clone().requires_grad_()
        logits = classifier(seen)
        if len(first := np.flatnonzero(batch.step == 0)):
            there, targets = batch.there(first), batch.memory["targets"]
            targets[there] = logits.detach()[there].topk(1 + targets.shape[1], dim=1).indices[:, 1:]

        def move(rows: Rows) -> Tensor:
            there = batch.there(rows)
            clean, now = batch.clean[there], batch.now[there]
            begins = (batch.step[rows] % self.count == 0) & (batch.step[rows] > 0)
            over = logits.detach()[there].argmax(1) != batch.labels[there]
            points = torch.where(per_image(over), clean + self.back * (now - clean), now)
            points = torch.where(per_image(batch.there(begins)), clean, points)
            moved = begins | over.cpu().numpy()
            gaps, slopes = list[tuple[Rows, Tensor]](), list[tuple[Rows, Tensor]]()
            if len(stay := rows[~moved]):
                gap, slope = self._boundary(batch, stay, logits[batch.there(stay)], seen)
                gaps.append((stay, gap))
                slopes.append((stay, slope[batch.there(stay)]))
            if len(gone := rows[moved]):
                batch.passes[gone] += 1
                again = points[batch.there(np.flatnonzero(moved))].requires_grad_()
                gap, slope = self._boundary(batch, gone, classifier(again), again)
                gaps.append((gone, gap))
                slopes.append((gone, slope))
            direction = in_order(batch, slopes)
            size = direction.abs().sum((1, 2, 3))
            batch.zero_gradient[there] |= ~(size > 0) | ~size.isfinite()
            return self._stepped(points, clean, in_order(batch, gaps), direction)

        return logits.detach(), move

    def _boundary(self, batch: Batch, rows: Rows, logits: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """How far the targets of `rows`, which these logits are of, are above their labels, and how that depends on
        `seen`."""
        there, run = batch.there(rows), batch.there(batch.step[rows] // self.count)
        both = logits.gather(1, torch.stack([batch.memory["targets"][there, run], batch.labels[there]], 1))
        gaps = both[:, 0] - both[:, 1]
        return gaps.detach(), torch.autograd.grad(gaps.sum(), seen)[0]

    def _stepped(self, points: Tensor, clean: Tensor, gaps: Tensor, slopes: Tensor) -> Tensor:
        there = to_plane(points, slopes, gaps)
        direct = to_plane(clean, slopes, gaps + (slopes * (clean - points)).sum((1, 2, 3)))
        far, near = (move.abs().amax((1, 2, 3), keepdim=True).clamp_min(_SMALLEST) for move in (there, direct))
        bias = (far / (far + near)).clamp_max(self.bias)
        return (points + self.overshoot * there) * (1 - bias) + (clean + self.overshoot * direct) * bias


def to_plane(points: Tensor, slopes: Tensor, gaps: Tensor) -> Tensor:
    """The moves, smallest in the L-infinity norm, from points (n, ...) in [0, 1] to where gap + slope * move = 0, that
    stay in [0, 1]; as near as they get where the plane does not meet that range.

    All pixels move by the same amount, as far as each has room. What they reach together is concave in that amount:
    Newton's method comes from below and is exact once no other pixel runs out of room. Each step but the last leaves
    fewer pixels with room, so it ends whatever is lost to rounding.
    """
    directions = -slopes.sign() * per_image(gaps.sign())
    room = torch.where(directions > 0, 1 - points, points).flatten(1)
    weights, needed = slopes.abs().flatten(1), gaps.abs()
    amount, moving = torch.zeros_like(needed), None
    while moving is None or not torch.equal(moving, room > amount[:, None]):
        moving = room > amount[:, None]
        slope = torch.where(moving, weights, 0).sum(1)
        reached = (weights * room.minimum(amount[:, None])).sum(1)
        more = (needed - reached).clamp_min(0) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        amount = (amount + more).clamp_max(1)
    return directions * room.minimum(amount[:, None]).view_as(points)


FAB_T = FAB()


@attack(
    "fab",
    access="white-box",
    runner="in_loop",
    passes=(1, 600),
    pictured=False,
    draws=False,
    source="Croce & Hein 2020b",
)
def fab(_: Context) -> Methods:
    return (FAB_T,)
