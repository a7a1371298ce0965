"""Attacks that are a function of images: what is registered is that function. It sees images that are right when clean,
and the victim in float32."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from clip_robustness.conditions.attacks.promises import perturbed_by
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.models.classifier import predict


def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """At a fixed eps, batch by batch."""
    victim, found, eps = context.victim.in_fp32(), context.condition.kind.attack, context.condition.eps
    assert found is not None
    assert eps is not None

    def perturbed(batch: Batch) -> Answers:
        def attacked(correct: list[int], images: Tensor) -> list[int]:
            samples = [batch[i][0] for i in correct]
            rngs = [context.rng(sample) for sample in samples]
            moved = perturbed_by(found, victim, images, context.labels(samples), eps, rngs)
            context.note(samples, moved)
            return predict(victim, moved)

        return context.where_correct(batch, attacked)

    return map(perturbed, batches)
