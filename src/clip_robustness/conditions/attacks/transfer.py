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

from clip_robustness.conditions.attacks.gradient import FGSM, SignSteps
from clip_robustness.conditions.attacks.loop import Method, Task, per_image, run_in_order
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import attack


def craft(
    surrogate: Classifier,
    method: Method,
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
    crafted = run_in_order(surrogate, method, tasks, size=len(tasks), stop_early=False)
    perturbations = torch.stack([done.image for done in crafted]) - smaller
    radius = per_image(torch.tensor(list(eps), device=images.device))
    return (images + resampled(perturbations, images.shape[-1]).clamp(-radius, radius)).clamp(0, 1)


def resampled(images: Tensor, side: int) -> Tensor:
    """Bilinear, smoothed where they become smaller; the images themselves where the side is theirs."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


CRAFTED = {
    "fgsm": FGSM,
    "bim": SignSteps(10),
    "mim": SignSteps(10, momentum=1.0),
    "dim": SignSteps(10, momentum=1.0, diverse=True),
}
"""With the benchmark's ten iterations."""


@attack(
    "transfer-fgsm", access="black-box", runner="transferred", search=True, crafted_on="surrogate", passes=(2, 1),
    draws=False, source="Goodfellow et al. 2015",
)  # fmt: skip
def fgsm() -> Method:
    return CRAFTED["fgsm"]


@attack(
    "transfer-bim", access="black-box", runner="transferred", search=True, crafted_on="surrogate", passes=(2, 10),
    draws=False, source="Kurakin et al. 2017",
)  # fmt: skip
def bim() -> Method:
    return CRAFTED["bim"]


@attack(
    "transfer-mim", access="black-box", runner="transferred", search=True, crafted_on="surrogate", passes=(2, 10),
    draws=False, source="Dong et al. 2018",
)  # fmt: skip
def mim() -> Method:
    return CRAFTED["mim"]


@attack(
    "transfer-dim", access="black-box", runner="transferred", search=True, crafted_on="surrogate", passes=(2, 16),
    source="Xie et al. 2019",
)  # fmt: skip
def dim() -> Method:
    return CRAFTED["dim"]
