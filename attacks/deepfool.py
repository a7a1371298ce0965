"""DeepFool (Moosavi-Dezfooli et al. 2016): the nearest decision boundary, as if the classifier were linear.

The perturbation is the smallest that it finds, in the L-infinity or the L2 norm; there is no eps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.loop import Batch, Move
from models.classifier import Classifier

_BEYOND = 1e-4
"""Logits: so far each step aims beyond the boundary, where the linear model would be exactly undecided."""


@dataclass(frozen=True)
class DeepFool:
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
        batch.passes += 1
        seen = batch.now.clone().requires_grad_()
        logits = classifier(seen)
        first = (batch.step == 0).nonzero().flatten()
        batch.memory["rivals"][first] = logits.detach()[first].topk(self._rivals(classifier), dim=1).indices

        def move(rows: Tensor) -> Tensor:
            rivals = batch.memory["rivals"][rows]
            # the standing images' best class is still their label, which was their best when clean
            gaps = logits[rows].gather(1, rivals[:, 1:]) - logits[rows].gather(1, rivals[:, :1])
            others = gaps.shape[1]
            pick = torch.eye(others, device=gaps.device, dtype=gaps.dtype)[:, None].expand(-1, len(rows), -1)
            (slopes,) = torch.autograd.grad(gaps, seen, pick, is_grads_batched=True)
            slopes = slopes[:, rows]  # (others, rows, 3, side, side)
            flat = slopes.flatten(2)
            lengths = (flat.abs().sum(2) if self.norm == "linf" else flat.norm(dim=2)).clamp_min(1e-12)
            distances = (gaps.detach().T.abs() + _BEYOND) / lengths
            distance, nearest = distances.min(0)
            slope = slopes[nearest, torch.arange(len(rows), device=nearest.device)]
            length = lengths.gather(0, nearest[None])[0]
            batch.flat[rows] |= length <= 1e-12
            direction = slope.sign() if self.norm == "linf" else slope / length.view(-1, 1, 1, 1)
            batch.memory["total"][rows] += distance.view(-1, 1, 1, 1) * direction
            return batch.clean[rows] + (1 + self.overshoot) * batch.memory["total"][rows]

        return logits.detach(), move
