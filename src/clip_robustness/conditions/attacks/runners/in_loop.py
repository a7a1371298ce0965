"""Attacks that step in the loop: what is registered gives the methods, which are tried one after the other.

The prediction for an image that is wrong when clean is the clean one. Whatever the victim's precision, under attack its
predictions are those in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_robustness.conditions.attacks.loop import Attacked, Methods, Task, run_in_order
from clip_robustness.conditions.attacks.smallest_eps import Best, smallest_eps
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.datasets.dataset import Sample
from clip_robustness.metrics.outcomes import NEVER, Prediction
from clip_robustness.models.classifier import predict, to_tensor

_PAPERS_RANGE = (-1.8, 2.15)
"""Of normalised pixels, which the benchmark's code clamps to."""


def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """One attack over all images; the batches flow into each other.

    An attack that finds the smallest eps, whatever it is given, is measured by it: `smallest_eps` is 0 for an image
    that is wrong when clean, `NEVER` for one that was not fooled.
    """
    victim, condition, methods = context.victim, context.condition, _methods(context)
    minimal, waiting = "eps" in condition.kind.read_at, dict[str, Sample]()
    eps, bounds = (1.0, (0.0, 1.0)) if minimal else _ball(context)
    passes = _counted(methods)
    blind_last = next((method for method in methods[1:] if method.blind), None)
    draws = condition.kind.draws

    def tasks() -> Iterator[Task]:
        for batch in batches:
            for sample, pixels in batch:
                waiting[sample.id] = sample
                rng = context.rng(sample) if draws else None
                yield Task(sample.id, to_tensor(pixels, context.device), sample.label, eps, rng)

    def answered(block: Sequence[Attacked]) -> Answers:
        predictions, perturbed = [done.prediction for done in block], [done.image for done in block]
        if condition.rounded:
            perturbed = [rounded(done) for done in block]
            predictions = predict(victim.in_fp32(), torch.stack(perturbed))
        context.note([waiting[str(done.task.key)] for done in block], perturbed)
        found, sizes = [], _sizes(block) if minimal else None
        for i, (done, prediction) in enumerate(zip(block, predictions, strict=True)):
            measures = {passes: float(done.passes)}
            if passes == "passes":
                measures["zero_gradient"] = float(done.zero_gradient)
            if sizes:
                measures["smallest_eps"] = sizes[i] if done.fooled else NEVER
            if blind_last:
                measures["blind_alone"] = float(done.fooled and done.method is blind_last)
            found.append((waiting.pop(str(done.task.key)), Prediction(prediction, measures)))
        return found

    # a lower precision finds larger perturbations than are needed
    attacked = in_turn(victim.in_fp32() if minimal else victim, methods, tasks(), size=context.size, bounds=bounds)
    while block := list(islice(attacked, context.size)):
        yield answered(block)


def search(context: Context, batches: Batches) -> Iterator[Answers]:
    """The smallest eps of each image, and the prediction there, batch by batch."""
    (method,) = methods = _methods(context)
    victim = context.victim.in_fp32()

    def searched(batch: Batch) -> Answers:
        images, best = context.images(batch), Best(len(batch), _counted(methods))

        def trial(chosen: NDArray[np.int64], eps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
            tasks = [
                Task(place, images[i], batch[i][0].label, float(e), context.rng(batch[i][0]))
                for place, (i, e) in enumerate(zip(chosen.tolist(), eps, strict=True))
            ]
            done = run_in_order(victim, method, tasks, size=context.size)
            fooled = np.array([d.fooled for d in done])
            lost = fooled.nonzero()[0]
            context.note([batch[chosen[i]][0] for i in lost], [done[i].image for i in lost])
            best.note(chosen, [d.prediction for d in done], fooled, [d.passes for d in done])
            return fooled, np.array(_sizes(done))

        return best.answers(batch, smallest_eps(trial, len(batch)))

    return map(searched, batches)


def _methods(context: Context) -> Methods:
    found = context.condition.kind.attack
    assert found is not None
    methods: Methods = found.function(context)
    return methods


def _counted(methods: Methods) -> str:
    """What forward passes are called."""
    return "queries" if all(method.blind for method in methods) else "passes"


def rounded(done: Attacked) -> Tensor:
    """The perturbed image in 256 levels, rounded towards the clean image where it would leave the ball."""
    levels = 255 * done.image
    outside = (levels.round() / 255 - done.task.image).abs() > torch.as_tensor(done.task.eps).to(levels) + 1e-6
    inwards = torch.where(done.image > done.task.image, levels.floor(), levels.ceil())
    return torch.where(outside, inwards, levels.round()).clamp(0, 255) / 255


def _sizes(attacked: Sequence[Attacked]) -> list[float]:
    """How far each image was moved, in the L-infinity norm."""
    sizes: list[float] = torch.stack([(done.image - done.task.image).abs().max() for done in attacked]).tolist()
    return sizes


def _ball(context: Context) -> tuple[float | Tensor, tuple[float, float] | tuple[Tensor, Tensor]]:
    """Radius and range, in pixel units; in those of the normalised image where the condition says so."""
    eps, victim = context.condition.eps, context.victim
    assert eps is not None
    if not context.condition.normalized:
        return eps, (0.0, 1.0)
    mean, std = victim.mean.flatten(0, 1), victim.std.flatten(0, 1)
    low, high = (limit * std + mean for limit in _PAPERS_RANGE)
    return eps * std, (low, high)
