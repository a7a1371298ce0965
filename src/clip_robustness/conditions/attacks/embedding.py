"""Attacks on zero-shot models that do not ask their head: on the image embedding alone, without labels, and on heads of
single templates, so that an ensemble of prompts is not mistaken for a defence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.attacks.gradient import SignSteps
from clip_robustness.conditions.attacks.loop import Task, run_in_order
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.models.classifier import predict
from clip_robustness.models.worded import Worded
from clip_robustness.registry import attack

_STEPS, _SIZE = 20, 0.15
"""Steps are shares of eps."""
_HEADS = 5
"""So many templates, evenly spaced among the model's."""
_ON_A_HEAD = SignSteps(_STEPS)


def away(reader: Worded, images: Tensor, start: Tensor, eps: float) -> Tensor:
    """Images (n, 3, side, side) in [0, 1], moved by up to eps so that the cosine between their embedding and that of
    the clean image falls, from `start`, which is in [-eps, eps]."""
    with torch.no_grad():
        clean = reader.embed(images)
    now = (images + start).clamp(0, 1)
    for _ in range(_STEPS):
        now = now.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((reader.embed(now) * clean).sum(), now)
        now = (now - _SIZE * eps * gradient.sign()).clamp(images - eps, images + eps).clamp(0, 1)
    return now.detach()


@attack(
    "embedding", access="white-box", runner="itself", crafted_on="wordings", passes=(2, 20),
    about="away from the clean embedding, without labels", source="Schlarmann et al. 2024, Robust CLIP (FARE)",
)  # fmt: skip
def on_embedding(context: Context, batches: Batches) -> Iterator[Answers]:
    reader, eps = _reader(context), context.condition.eps
    assert eps is not None

    def answers(batch: Batch) -> Answers:
        def attacked(correct: list[int], images: Tensor) -> list[int]:
            draws = [context.rng(batch[i][0]).uniform(-eps, eps, images.shape[1:]) for i in correct]
            start = torch.from_numpy(np.stack(draws)).to(images)
            moved = away(reader, images, start, eps)
            context.note([batch[i][0] for i in correct], moved)
            return predict(context.victim.in_fp32(), moved)

        return context.where_correct(batch, attacked)

    return map(answers, batches)


@attack(
    "template-heads", access="white-box", runner="itself", crafted_on="wordings", passes=(7, 100),
    draws=False, about="the strongest of five templates' heads",
    source="in the manner of Tramer et al. 2020, adaptive attacks",
)  # fmt: skip
def on_heads(context: Context, batches: Batches) -> Iterator[Answers]:
    """Gradient steps against the head of each template; an image is fooled where any of them fools the whole model."""
    reader, eps, victim = _reader(context), context.condition.eps, context.victim.in_fp32()
    assert eps is not None
    heads = [reader.under(int(i)) for i in np.unique(np.linspace(0, len(reader.names) - 1, _HEADS).round())]

    def answers(batch: Batch) -> Answers:
        def attacked(correct: list[int], images: Tensor) -> list[int]:
            labels = [batch[i][0].label for i in correct]
            found, shown = list(labels), images.clone()
            for head in heads:
                left = [i for i, label in enumerate(labels) if found[i] == label]
                if not left:
                    break
                tasks = [Task(i, images[i], labels[i], eps) for i in left]
                done = run_in_order(head, _ON_A_HEAD, tasks, size=context.size, stop_early=False)
                moved = torch.stack([each.image for each in done])
                for i, image, prediction in zip(left, moved, predict(victim, moved), strict=True):
                    found[i], shown[i] = prediction, image
            context.note([batch[i][0] for i in correct], shown)
            return found

        return context.where_correct(batch, attacked)

    return map(answers, batches)


def _reader(context: Context) -> Worded:
    reader = context.surrogate
    assert isinstance(reader, Worded)
    return reader.in_fp32()
