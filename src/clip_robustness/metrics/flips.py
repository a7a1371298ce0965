"""Stability along the sequences of ImageNet-P (Hendrycks & Dietterich 2019): flip probability and top-5 distance.

Both are given per sequence (n,): `intervals.mean` gives a perturbation's figure, FP or T5D, with its interval.

Frames are compared `step` apart; the difficulties 1-3 of the paper are steps of 1-3 frames. Noise has no order: its
frames are compared with the first one, whatever the difficulty, which is the strength of the noise instead. A
sequence without frames to compare raises `InputError`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clip_robustness.errors import InputError
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.metrics.corruption import complete

Ints = NDArray[np.int64]


def flip_probabilities(predictions: Ints, *, noise: bool, step: int = 1) -> NDArray[np.float64]:
    """The share of compared frames with another prediction, (n,), from predictions (n, frames)."""
    before, after = _compared(predictions, noise, step)
    return (before != after).mean(axis=1)


def top5_distances(top5: Ints, *, noise: bool, step: int = 1) -> NDArray[np.float64]:
    """How far the five best classes move between compared frames, on average, (n,), from classes (n, frames, 5).

    The sum over the five of how many places each moves, where whatever is not among the five any more is sixth:
    from 0, the same order, to 18, three that left and two that rose above them; five other classes are 15 apart.
    `top5` is sorted, the best class first.
    """
    before, after = _compared(top5, noise, step)
    same = before[..., :, None] == after[..., None, :]
    place = np.where(same.any(axis=-1), same.argmax(axis=-1), top5.shape[-1])
    return np.abs(place - np.arange(top5.shape[-1])).sum(axis=-1).mean(axis=1)


def mean_over_perturbations(values: Mapping[str, float]) -> float:
    """mFP from flip probabilities, or the mean top-5 distance. Raises `InputError` unless all ten are there."""
    complete(values, PERTURBATIONS, "ImageNet-P")
    return float(np.mean([values[name] for name in PERTURBATIONS]))


def relative_to_alexnet(values: Mapping[str, float], alexnet: Mapping[str, float]) -> float:
    """mFR from flip probabilities, mT5D from top-5 distances: the mean of value / AlexNet's value.

    Raises `InputError` unless all ten are there, and where AlexNet's value is 0.
    """
    complete(alexnet, PERTURBATIONS, "AlexNet's ImageNet-P")
    complete(values, PERTURBATIONS, "ImageNet-P")
    if steady := [name for name in PERTURBATIONS if not alexnet[name]]:
        raise InputError(f"AlexNet's figure is 0 under {', '.join(steady)}, and nothing is relative to that")
    return float(np.mean([values[name] / alexnet[name] for name in PERTURBATIONS]))


def _compared(frames: Ints, noise: bool, step: int) -> tuple[Ints, Ints]:
    if frames.shape[1] < 1 + (1 if noise else step):
        raise InputError(f"a sequence of {frames.shape[1]} frames has none to compare; is its file complete?")
    return (frames[:, :1], frames[:, 1:]) if noise else (frames[:, :-step], frames[:, step:])
