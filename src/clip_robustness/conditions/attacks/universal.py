"""One perturbation for all images (Moosavi-Dezfooli et al. 2017), found by projected gradient steps over many of them
(Shafahi et al. 2020): what an attacker can print once and put in front of a camera.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.models.classifier import Classifier

_PASSES = 10
_STEP = 0.1
_AT_ONCE = 32
_CLIP = 9.0
"""Beyond this loss an image has nothing more to say: without the limit those that are fooled rule the direction."""


def universal(
    victim: Classifier, images: Tensor, labels: Tensor, eps: float, rng: np.random.Generator, size: int = _AT_ONCE
) -> Tensor:
    """A perturbation (3, side, side) in [-eps, eps] that raises the loss of images (n, 3, side, side) in [0, 1].

    Steps of 0.1 eps along the sign of the gradient over 32 images in random order, ten times over all of them. `size`
    images pass at a time.
    """
    found = torch.zeros_like(images[0])
    for _ in range(_PASSES):
        for rows in torch.from_numpy(rng.permutation(len(images))).split(_AT_ONCE):
            gradient = torch.zeros_like(found)
            for some in rows.split(size):
                moved = found.clone().requires_grad_()
                logits = victim((images[some] + moved).clamp(0, 1))
                loss = F.cross_entropy(logits, labels[some], reduction="none").clamp_max(_CLIP).sum()
                gradient += torch.autograd.grad(loss, moved)[0]
            found = (found + _STEP * eps * gradient.sign()).clamp(-eps, eps)
    return found
