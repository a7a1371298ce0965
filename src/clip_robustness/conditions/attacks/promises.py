"""What an attack of a plugin promises: to stay in the ball, and to depend on nothing but the image and its seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clip_robustness.errors import InputError
from clip_robustness.models.classifier import Classifier
from clip_robustness.registry import Registered, unregistered

_SLACK = 1e-6
_SAME, _OTHERS = 1e-4, 0.02
"""What floating point may change from batch to batch: pixels by so much, and of steps along signs so many pixels."""


def perturbed_by(
    plugin: Registered,
    victim: Classifier,
    images: Tensor,
    labels: Tensor,
    eps: float,
    rngs: Sequence[np.random.Generator],
) -> Tensor:
    """Images, float (n, 3, side, side) in [0, 1], as a plugin perturbs them within eps.

    Raises `InputError` naming the plugin where its function fails, leaves the ball or returns anything but such images.
    """
    gradients = getattr(plugin.function, "access", "white-box") != "black-box"
    try:
        with torch.set_grad_enabled(gradients):
            found: Any = plugin.function(victim, images.clone(), labels.clone(), eps, list(rngs))
    except Exception as error:
        raise InputError(f"{plugin}: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(found, Tensor) or found.shape != images.shape or found.dtype != images.dtype:
        what = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"{plugin} returns {what}; return a tensor of {images.dtype} {tuple(images.shape)}")
    found = found.detach()
    if not (found.isfinite().all() and found.min() >= 0 and found.max() <= 1):
        raise InputError(f"{plugin} returns images outside [0, 1]; clamp them")
    if (away := float((found - images).abs().max())) > eps + _SLACK:
        raise InputError(f"{plugin} leaves the ball: {away:.4f} from an image at eps {eps:.4f}; clamp the perturbation")
    return found


def check_attack(function: Callable[..., Any] | Registered, model: Classifier, eps: float = 8 / 255) -> None:
    """That `function(model, images, labels, eps, rngs)` keeps what the suite builds on, on four images of noise: type,
    shape, range and ball, the same result for the same random numbers, and for an image alone.

    Raises `InputError` with what is wrong.
    """
    plugin = function if isinstance(function, Registered) else unregistered("attack", function)
    side = model.image_size
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)).to(model.mean.device)
    with torch.no_grad():
        labels = model(images).argmax(1)

    def perturbed(rows: slice) -> Tensor:
        rngs = [np.random.default_rng(seed) for seed in range(4)][rows]
        return perturbed_by(plugin, model, images[rows], labels[rows], eps, rngs)

    whole = perturbed(slice(None))
    if _differ(whole, perturbed(slice(None))):
        raise InputError(f"{plugin} differs from call to call; draw from the generators that it is given alone")
    alone = torch.cat([perturbed(slice(i, i + 1)) for i in range(4)])
    if _differ(whole, alone):
        raise InputError(f"{plugin}: what becomes of an image depends on the others; treat each by itself")


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() > _SAME).float().mean() > _OTHERS)
