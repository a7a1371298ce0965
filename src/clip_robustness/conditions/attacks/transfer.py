"""Black-box attacks by transfer: perturbations crafted on a surrogate, whose weights are known, fool another model.

The surrogate sees what the victim sees, resampled to its own resolution; its perturbation is resampled back, in pixel
space, and cut to the ball. Crafting takes all steps: what fools the surrogate early may not fool the victim yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.conditions.attacks.gradient import CRAFTED
from clip_robustness.conditions.attacks.loop import Task, run_in_order
from clip_robustness.models.classifier import Classifier


def craft(
    surrogate: Classifier,
    name: str,
    images: Tensor,
    labels: Sequence[int],
    eps: Sequence[float],
    rngs: Sequence[np.random.Generator],
) -> Tensor:
    """Adversarial images for a victim, from its clean images (n, 3, side, side) in [0, 1] and a radius for each."""
    smaller = resampled(images, surrogate.image_size).clamp(0, 1)
    tasks = [
        Task(i, image, label, radius, rng)
        for i, (image, label, radius, rng) in enumerate(zip(smaller, labels, eps, rngs, strict=True))
    ]
    crafted = run_in_order(surrogate, CRAFTED[name], tasks, size=len(tasks), stop_early=False)
    perturbations = torch.stack([done.image for done in crafted]) - smaller
    radius = torch.tensor(list(eps), device=images.device).view(-1, 1, 1, 1)
    return (images + resampled(perturbations, images.shape[-1]).clamp(-radius, radius)).clamp(0, 1)


def resampled(images: Tensor, side: int) -> Tensor:
    """Bilinear, smoothed where they become smaller; the images themselves where the side is theirs."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
