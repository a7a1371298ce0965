"""Predictions of images as a condition shows them."""

from __future__ import annotations

from collections.abc import Iterator

from clip_robustness.conditions.context import Answers, Batches, Context
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import confident


def top_1(context: Context, batches: Batches) -> Iterator[Answers]:
    """The class with the largest logit, batch by batch. `confidence`: its softmax probability."""
    for batch in batches:
        predictions, shares = confident(context.victim, context.images(batch))
        yield [
            (sample, Prediction(found, {"confidence": share}))
            for (sample, _), found, share in zip(batch, predictions, shares, strict=True)
        ]
