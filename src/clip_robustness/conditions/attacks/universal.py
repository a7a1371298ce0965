"""One perturbation for all images (Moosavi-Dezfooli et al. 2017), found by projected gradient steps over many of them
(Shafahi et al. 2020): what an attacker can print once and put in front of a camera.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.conditions.attacks.halves import half_of
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import Classifier, predict
from clip_robustness.registry import attack

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


@attack(
    "universal", access="white-box", runner="itself", craft_set="clip_robustness.conditions.attacks.halves.crafted_on",
    passes=(10, 10), pictured=False, source="Moosavi-Dezfooli et al. 2017; Shafahi et al. 2020",
)  # fmt: skip
def on_halves(context: Context, batches: Batches) -> Iterator[Answers]:
    """Each half of the images is moved by what was crafted on the other half: none is tested by what it helped to
    find."""
    found = cache(lambda: _moves(context))  # not crafted where nothing is missing

    def answers(batch: Batch) -> Answers:
        def attacked(correct: list[int], images: Tensor) -> list[int]:
            moved = images + torch.stack([found()[half_of(batch[i][0])] for i in correct])
            return predict(context.victim.in_fp32(), moved.clamp(0, 1))

        return context.where_correct(batch, attacked)

    return map(answers, batches)


def _moves(context: Context) -> list[Tensor]:
    """The perturbation that each half is moved by."""
    halves: tuple[list[tuple[Sample, Pixels]], ...] = ([], [])
    for sample, pixels in chain.from_iterable(context.craft_set):
        halves[half_of(sample)].append((sample, pixels))
    eps = context.condition.eps
    assert eps is not None
    if not all(halves):
        raise InputError(f"{context.condition.id}: needs more images, one half to craft on and the other to attack")
    return [
        universal(
            context.victim.in_fp32(),
            context.images(halves[other]),
            context.labels([sample for sample, _ in halves[other]]),
            eps,
            image_rng(context.seed, context.condition.name, str(other)),
            context.size,
        )
        for other in (1, 0)
    ]
