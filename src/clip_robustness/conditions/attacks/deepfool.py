"""DeepFool (Moosavi-Dezfooli et al. 2016): the nearest decision boundary, as if the classifier were linear.

The perturbation is the smallest that it finds, in the L-infinity or the L2 norm; there is no eps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.attacks.loop import Batch, Method, Methods, Move, Rows, per_image
from clip_robustness.conditions.context import Context
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack

_BEYOND = 1e-4
"""Logits: so far each step aims beyond the boundary, where the linear model would be exactly undecided."""


@dataclass(frozen=True)
class DeepFool(Method):
    """Over the `classes` best classes of the clean image; the sum of the steps is `overshoot` longer than needed."""

    norm: Literal["linf", "l2"] = "linf"
    classes: int = 10
    limit: int = 50
    overshoot: float = 0.02

    def steps(self, eps: float) -> int:
        return self.limit

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        batch.memory["total"] = torch.zeros_like(batch.clean)
        batch.memory["rivals"] = batch.labels.new_zeros(len(batch), self._rivals(classifier))

    def _rivals(self, classifier: Classifier) -> int:
        return min(self.classes, len(classifier.classes))

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        """Looks without a gradient first: those of all rivals, which only images that stand need, cost far more.

        One backward pass a rival for the whole batch: a batched one is no faster and takes as many times the memory.
        """
        batch.passes += 1
        with torch.no_grad():
            logits = classifier(batch.now)
        if len(first := np.flatnonzero(batch.step == 0)):
            there = batch.there(first)
            batch.memory["rivals"][there] = logits[there].topk(self._rivals(classifier), dim=1).indices

        def move(standing: Rows) -> Tensor:
            batch.passes[standing] += 1
            rows = batch.there(standing)
            seen = batch.now[rows].requires_grad_()
            scores = classifier(seen).gather(1, batch.memory["rivals"][rows])
            # the standing images' best class is still their label, which was their best when clean
            gaps = scores[:, 1:] - scores[:, :1]
            slopes = torch.stack(
                [torch.autograd.grad(gap.sum(), seen, retain_graph=True)[0] for gap in gaps.unbind(1)]
            )  # (rivals, rows, 3, side, side)
            flat = slopes.flatten(2)
            lengths = (flat.abs().sum(2) if self.norm == "linf" else flat.norm(dim=2)).clamp_min(1e-12)
            distances = (gaps.detach().T.abs() + _BEYOND) / lengths
            distance, nearest = distances.min(0)
            each = torch.arange(len(rows), device=nearest.device)
            slope, length = slopes[nearest, each], lengths[nearest, each]
            batch.zero_gradient[rows] |= length <= 1e-12
            direction = slope.sign() if self.norm == "linf" else slope / per_image(length)
            batch.memory["total"][rows] += per_image(distance) * direction
            return batch.clean[rows] + (1 + self.overshoot) * batch.memory["total"][rows]

        return logits, move


@attack(
    "deepfool", access="white-box", runner="in_loop", read_at=("eps",), passes=(1, 22),
    draws=False, source="Moosavi-Dezfooli et al. 2016",
)  # fmt: skip
def deepfool(_: Context) -> Methods:
    """Of its passes each has gradients of several classes."""
    return (DeepFool(),)
