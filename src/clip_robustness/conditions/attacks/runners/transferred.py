"""Attacks by transfer: what is registered gives the method that crafts on the surrogate; the victim's predictions, in
float32, count where it is right when clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_robustness.conditions.attacks import transfer
from clip_robustness.conditions.attacks.smallest_eps import Best, smallest_eps
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.conditions.kept import geometry_key, pixels_key
from clip_robustness.datasets.dataset import Sample
from clip_robustness.models.classifier import Classifier, predict


def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """At a fixed eps, batch by batch. Perturbations are kept for the other victims that see the same pixels."""

    def transferred(batch: Batch) -> Answers:
        def attacked(correct: list[int], images: Tensor) -> list[int]:
            samples = [batch[i][0] for i in correct]
            perturbed = _perturbed(context, samples, images)
            context.note(samples, perturbed)
            return predict(context.victim.in_fp32(), perturbed)

        return context.where_correct(batch, attacked)

    return map(transferred, batches)


def search(context: Context, batches: Batches) -> Iterator[Answers]:
    """The smallest eps of each image, and the prediction there, batch by batch."""
    victim = context.victim.in_fp32()

    def searched(batch: Batch) -> Answers:
        images = context.images(batch)
        clean = predict(victim, images)
        labels = np.array([sample.label for sample, _ in batch])
        correct = np.array(clean) == labels
        best = Best(len(batch), "passes")
        best.note(np.arange(len(batch)), clean, ~correct, [1] * len(batch))

        def trial(chosen: NDArray[np.int64], eps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
            samples = [batch[i][0] for i in chosen]
            crafted = _craft(context, samples, images[chosen], eps.tolist())
            predictions = predict(victim, crafted)
            fooled = np.array(predictions) != labels[chosen]
            lost = fooled.nonzero()[0]
            context.note([samples[i] for i in lost], crafted[lost])
            best.note(chosen, predictions, fooled, [1] * len(chosen))
            return fooled, np.where(correct[chosen], eps, 0)

        return best.answers(batch, np.where(correct, smallest_eps(trial, len(batch)), 0))

    return map(searched, batches)


def _perturbed(context: Context, samples: Sequence[Sample], images: Tensor) -> Tensor:
    """Images with the perturbations that are known, and others that are crafted now."""
    eps, surrogate = context.condition.eps, _surrogate(context)
    assert eps is not None
    seen = geometry_key(context.victim.geometry), images.shape[-1]
    of = context.condition, surrogate.fingerprint, surrogate.classes.keys, context.seed, *seen
    keys = [(*pixels_key(sample), sample.label, *of) for sample in samples]
    changes = [context.kept.get(key) for key in keys]
    if missing := [i for i, change in enumerate(changes) if change is None]:
        crafted = _craft(context, [samples[i] for i in missing], images[missing], [eps] * len(missing))
        made = (crafted - images[missing]).cpu().numpy().astype(np.float16)
        for i, change in zip(missing, made, strict=True):
            changes[i] = change = change.copy()  # not a view of the whole batch
            context.kept.put(keys[i], change)
    moved = torch.from_numpy(np.stack([change for change in changes if change is not None])).float().to(context.device)
    return (images + moved.clamp(-eps, eps)).clamp(0, 1)


def _craft(context: Context, samples: Sequence[Sample], images: Tensor, eps: Sequence[float]) -> Tensor:
    found = context.condition.kind.attack
    assert found is not None
    labels, rngs = [sample.label for sample in samples], [context.rng(sample) for sample in samples]
    return transfer.craft(_surrogate(context), found.function(), images, labels, eps, rngs)


def _surrogate(context: Context) -> Classifier:
    assert context.surrogate is not None
    return context.surrogate
