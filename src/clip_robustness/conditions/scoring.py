"""Predictions of images as a condition shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import check_shape, known, top_classes

Asked = TypeVar("Asked")


def top_1(context: Context, batches: Batches) -> Iterator[Answers]:
    """The class with the largest logit, batch by batch. `confidence`: its softmax probability."""
    for batch, found in one_behind((batch, _asked(context, batch)) for batch in batches):
        classes, shares = zip(*found.tolist(), strict=True)
        yield [
            (sample, Prediction(int(label), {"confidence": round(share, 4)}))
            for (sample, _), label, share in zip(batch, known(context.victim, classes), shares, strict=True)
        ]


def one_behind(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Each when the next is asked, so that a device computes the one while the other is prepared. What is asked when an
    error comes is not lost."""
    waiting = list[Asked]()
    try:
        for one in asked:
            waiting.append(one)
            if len(waiting) == 2:
                yield waiting.pop(0)
    except (Exception, KeyboardInterrupt):
        yield from waiting
        raise
    yield from waiting


@torch.inference_mode()
def _asked(context: Context, batch: Batch) -> Tensor:
    """Top class and confidence, float (n, 2). Nothing is read back: what is made of bytes lies in [0, 1]."""
    images = context.images(batch)
    check_shape(context.victim, images)
    logits = context.victim(images)
    return torch.stack([top_classes(logits), logits.softmax(1).amax(1)], 1)
