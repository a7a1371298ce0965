"""Stability over the frames of a perturbation sequence (ImageNet-P; Hendrycks & Dietterich 2019, section 4.3).

A frame is compared with the one `step` before it; those of the noise sequences, which have no order, with the clean
first one. All functions take one row a sequence and return one value a sequence, so that intervals are over sequences.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

NOISE = ("gaussian_noise", "shot_noise")
"""Sequences whose frames are independent draws."""

Shares = NDArray[np.float64]


def flip_probability(predictions: NDArray[np.integer], perturbation: str, step: int = 1) -> Shares:
    """Share of compared frames with another top-1 class; `predictions` (sequences, frames).

    `step` is the difficulty, 1 to 3 in the paper; noise has sequences of its own for that, and ignores it.
    """
    earlier, later = _pairs(predictions.shape[1], perturbation, step)
    flips: Shares = (predictions[:, earlier] != predictions[:, later]).mean(1)
    return flips


def top5_distance(top5: NDArray[np.integer], perturbation: str, step: int = 1) -> Shares:
    """Mean distance between the top-5 lists of compared frames; `top5` (sequences, frames, 5), best class first.

    For each of the earlier frame's five classes so many places as it moved, where all places after the fifth are one.
    From 0 for the same list to 15 for five other classes.
    """
    earlier, later = _pairs(top5.shape[1], perturbation, step)
    is_same = top5[:, earlier, :, None] == top5[:, later, None, :]
    place = np.where(is_same.any(-1), is_same.argmax(-1), 5)
    distances: Shares = np.abs(place - np.arange(5)).sum(-1).mean(1)
    return distances


def relative_mean(figures: Mapping[str, float], alexnet: Mapping[str, float]) -> float | None:
    """Mean over perturbations of figure / AlexNet's figure: mFR from flip probabilities, mT5D from top-5 distances.

    None where a perturbation has no figure of AlexNet: then there is nothing to divide by, and nothing is guessed.
    """
    if not figures or any(name not in alexnet for name in figures):
        return None
    return float(np.mean([figure / alexnet[name] for name, figure in figures.items()]))


def _pairs(frames: int, perturbation: str, step: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which frames are compared with which. Raises `ValueError` where there are too few."""
    if perturbation in NOISE:
        later = np.arange(1, frames)
        earlier = np.zeros_like(later)
    else:
        later = np.arange(step, frames)
        earlier = later - step
    if not len(later):
        raise ValueError(f"{perturbation}: a sequence of {frames} frames has none to compare at step {step}")
    return earlier, later
