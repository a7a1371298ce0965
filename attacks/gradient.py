"""White-box attacks that follow the sign of the loss's gradient within an L-infinity ball.

`bim` is the basic iterative method of Kurakin et al. 2017 with the benchmark's parameters, `fgsm` (Goodfellow et al.
2015) its one-step case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier, check_images, predictions_of


@dataclass(frozen=True)
class Steps:
    """How an attack moves: `count` steps of `size` x eps each."""

    count: int
    size: float


def fgsm_steps(eps: float) -> Steps:
    """One step to the surface of the ball."""
    return Steps(1, 1.0)


def bim_steps(eps: float) -> Steps:
    """min(255 eps + 4, 1.25 x 255 eps) steps of 0.15 eps, 10 at eps 8/255; never fewer than cross the ball's radius.

    The benchmark's formula alone leaves a single step of 0.15 eps at eps 1/255, an attack weaker than FGSM.
    """
    units = 255 * eps
    return Steps(max(round(min(units + 4, 1.25 * units)), math.ceil(1 / 0.15)), 0.15)


STEPS = {"fgsm": fgsm_steps, "bim": bim_steps}


def attack(classifier: Classifier, images: Tensor, labels: Tensor, name: str, eps: float) -> tuple[Tensor, Tensor]:
    """Adversarial images and the predictions on them.

    `images` are float (n, 3, side, side) in [0, 1], `labels` int64 (n,). An image that is wrong when clean stays as it
    is; one that is fooled on the way keeps the perturbation that fooled it. Raises `InputError` for images outside
    [0, 1].
    """
    check_images(classifier, images)
    steps = STEPS[name](eps)
    adversarial, predictions = images.clone(), torch.empty_like(labels)
    active = torch.arange(len(images), device=images.device)
    for step in range(steps.count + 1):
        last = step == steps.count
        current = adversarial[active].requires_grad_(not last)
        logits = classifier(current)
        predictions[active] = predictions_of(classifier, logits.detach())
        standing = predictions[active] == labels[active]
        if last or not standing.any():
            break
        # The gradients come from the pass that found out who still stands: one forward pass a step.
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels[active], reduction="sum"), current)
        active, gradient = active[standing], gradient[standing]
        moved = adversarial[active] + steps.size * eps * gradient.sign()
        clean = images[active]
        adversarial[active] = moved.clamp(clean - eps, clean + eps).clamp(0, 1)
    return adversarial, predictions
