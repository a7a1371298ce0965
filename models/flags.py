"""What in a model itself makes it look more robust than it is: the flags of AutoAttack (Croce & Hein 2020; its
flags_doc.md) that need no attack."""

from __future__ import annotations

import sys
from types import FrameType

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.models.classifier import Classifier, probe_images

_PASSES = 3
_SAME = 1e-4
"""The distance of unit vectors of logits, under which two passes agree."""
_ROUNDING = 1e-5
_BACKWARD = (torch.autograd.grad.__code__, torch.autograd.backward.__code__)


def flags(classifier: Classifier) -> dict[str, bool]:
    """Flag -> whether it is up, in float32, as attacks see the model: its passes differ, its logits are probabilities,
    it computes gradients in a forward pass."""
    classifier = classifier.in_fp32()
    images = probe_images(classifier)
    with torch.no_grad():
        passes = torch.stack([classifier(images) for _ in range(_PASSES)])
        units = F.normalize(passes, dim=2)
        optimises = _computes_gradients(classifier, images)
    return {
        "randomised": bool((units - units[0]).norm(dim=2).max() > _SAME),
        "probabilities": _are_probabilities(passes[0]),
        "optimises": optimises,
    }


def _are_probabilities(logits: Tensor) -> bool:
    inside = logits.min() > -_ROUNDING and logits.max() < 1 + _ROUNDING
    return bool(inside and ((logits.sum(1) - 1).abs() < _ROUNDING).all())


def _computes_gradients(classifier: Classifier, images: Tensor) -> bool:
    """Whichever name it calls them by: the profiler sees all functions that a pass enters."""
    called = False

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal called
        called |= event == "call" and frame.f_code in _BACKWARD

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        classifier(images[:1])
    finally:
        sys.setprofile(before)
    return called
