"""Predictions of images as a condition shows them."""

from __future__ import annotations

from collections.abc import Iterator

from clip_robustness.conditions.context import Answers, Batches, Context
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import predict


def top_1(context: Context, batches: Batches) -> Iterator[Answers]:
    """The class with the largest logit, batch by batch."""
    for batch in batches:
        predictions = predict(context.victim, context.images(batch))
        yield [(sample, Prediction(found)) for (sample, _), found in zip(batch, predictions, strict=True)]
