"""All images are moved to a text of the user's, in the embedding of a zero-shot model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from clip_robustness.conditions.attacks.gradient import SignSteps
from clip_robustness.conditions.attacks.loop import Task, run_in_order
from clip_robustness.conditions.context import Answers, Batch, Batches, Context, after
from clip_robustness.models.classifier import predictions_of
from clip_robustness.registry import attack

TOWARDS_FIRST = SignSteps(20, momentum=1.0, loss=lambda logits, _: logits[:, 0])
"""Raises the first logit, whatever the others do."""


@attack(
    "caption:", access="white-box", runner="itself", crafted_on="text", passes=(2, 20), example="a photo of a dog",
    draws=False, about="towards a text", source="momentum steps of Dong et al. 2018 towards a text",
)  # fmt: skip
def towards_caption(context: Context, batches: Batches) -> Iterator[Answers]:
    """Measured is whether the caption fits better than any class, before and after. The surrogate is the victim over
    the caption and a text that says nothing."""
    eps = context.condition.eps
    assert context.surrogate is not None
    assert eps is not None
    victim, reader = context.victim.in_fp32(), context.surrogate.in_fp32()

    def answers(batch: Batch) -> Answers:
        images = context.images(batch)
        tasks = [Task(i, image, 0, eps) for i, image in enumerate(images)]
        done = run_in_order(reader, TOWARDS_FIRST, tasks, size=context.size, stop_early=False)
        moved = torch.stack([d.image for d in done])
        context.note([sample for sample, _ in batch], moved)

        @torch.inference_mode()
        def seen(images: Tensor) -> tuple[list[int], list[bool]]:
            logits = victim.logits(images)
            fits: list[bool] = (reader.logits(images)[:, 0] > logits.amax(1)).tolist()
            return predictions_of(victim, logits).tolist(), fits

        (clean, before), (attacked, now) = seen(images), seen(moved)
        fits = [{"caption": float(a), "caption_when_clean": float(b)} for a, b in zip(now, before, strict=True)]
        return after(batch, clean, attacked, fits)

    return map(answers, batches)
