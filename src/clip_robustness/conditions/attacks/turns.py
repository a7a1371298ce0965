"""Attacks one after the other, each on what still stands; in a lower precision first, where a model has one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from clip_robustness.conditions.attacks.loop import Attacked, Method, Task, run
from clip_robustness.models.classifier import Classifier, predict


def in_turn(
    victim: Classifier, methods: Sequence[Method], tasks: Iterable[Task], *, size: int, **options: Any
) -> Iterator[Attacked]:
    """What became of each task under the methods together; yields each as soon as it is known. `options` are those of
    `run`.

    What counts is the model in float32. In a lower precision the first method is tried before, which is fast: what it
    finds has to fool the model in float32, and what it does not find is attacked in float32. Images that are wrong
    when clean, in either precision, are not attacked.
    """
    exact = victim.in_fp32()
    stream: Iterable[Task | Attacked] = tasks
    if exact is not victim:
        stream = _confirmed(exact, run(victim, methods[0], stream, size=size, **options), size)
    *others, last = methods
    for method in others:
        stream = run(exact, method, map(_standing, stream), size=size, **options)
    return run(exact, last, map(_standing, stream), size=size, **options)


def _standing(done: Task | Attacked) -> Task | Attacked:
    return done.again if isinstance(done, Attacked) and not done.fooled else done


def _confirmed(exact: Classifier, attacked: Iterator[Attacked], size: int) -> Iterator[Attacked]:
    """With the predictions of the exact model; a gradient that vanishes in the other is no sign of anything."""
    while block := list(islice(attacked, size)):
        found = [done for done in block if done.fooled and done.steps]
        yield from (done if done.fooled else replace(done, zero_gradient=False) for done in block if done not in found)
        if found:
            predictions = predict(exact, torch.stack([done.image for done in found]))
            for done, prediction in zip(found, predictions, strict=True):
                yield replace(done, prediction=prediction, passes=done.passes + 1, zero_gradient=False)
