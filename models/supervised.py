"""Supervised baselines: a timm or torchvision model with its own head."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torchvision
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from models.classes import ClassList, class_list
from models.classifier import Classifier, Geometry, fingerprint_of
from models.errors import InputError, nearest
from models.loading import ToRGB, check_fit, hub_or_file_errors, read_state_dict, without_tensor_steps
from models.spec import ModelSpec

_IMAGENET = 1000


class _Subset(nn.Module):
    """The logits of some of a network's classes."""

    def __init__(self, net: nn.Module, positions: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("positions", torch.tensor(positions))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)[:, self.positions]


def load_timm(spec: ModelSpec, classes: ClassList, device: torch.device, **overrides: object) -> Classifier:
    """Build the classifier of a `timm:` spec, with pretrained weights from the hub or those of its file.

    Raises `InputError` for an unknown name, a file that does not fit, or a hub that can't be reached.
    """
    arch, _, tag = spec.name.partition(".")
    if arch not in timm.list_models():
        raise InputError(
            f"model spec '{spec}': timm has no model '{spec.name}'; {nearest(spec.name, timm.list_models())}"
        )
    tagged = timm.list_pretrained(f"{arch}*")
    if tag and spec.name not in tagged:
        raise InputError(f"model spec '{spec}': timm has no weights '{tag}' for {arch}; {nearest(spec.name, tagged)}")
    with hub_or_file_errors(spec):
        if spec.file:
            state = read_state_dict(spec.file, ema=spec.options.ema)
            net = timm.create_model(spec.name, num_classes=_outputs(state, classes))
            check_fit(net, state, spec, classes)
            net.load_state_dict(state)
        else:
            net = timm.create_model(spec.name, pretrained=True)
    return wrap_timm(net, spec, classes, device, **overrides)


def wrap_timm(net: Any, spec: ModelSpec, classes: ClassList, device: torch.device, **overrides: object) -> Classifier:
    """A timm network with weights -> `Classifier`, preprocessing from the network's own data config.

    `overrides` replace entries of that config: `input_size` (channels, height, width), `mean`, `std`, `crop_pct`, ...;
    the spec's options replace both.
    """
    options = spec.options
    for key in ("mean", "std", "interpolation", "crop_pct"):
        if (value := getattr(options, key)) is not None:
            overrides[key] = value
    if size := options.image_size:
        overrides["input_size"] = (3, size, size)
        if hasattr(net, "set_input_size"):
            net.set_input_size(img_size=size)
    config = resolve_data_config(overrides, model=net)
    geometry = without_tensor_steps(create_transform(**config, is_training=False))
    size, mean, std = config["input_size"][-1], config["mean"], config["std"]
    return _classifier(net, net.num_classes, spec, classes, size, geometry, mean, std, sorted(config.items())).to(
        device
    )


def load_torchvision(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """Build the classifier of a `torchvision:` spec; preprocessing from the weights that the tag names (torchvision's
    default without one), also where a file brings the weights.

    Raises `InputError` for an unknown name or tag, a file that does not fit, or a hub that can't be reached.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if spec.name not in known:
        raise InputError(f"model spec '{spec}': torchvision has no model '{spec.name}'; {nearest(spec.name, known)}")
    tags = torchvision.models.get_model_weights(spec.name).__members__
    tag = spec.tag or "DEFAULT"
    if tag not in tags:
        raise InputError(
            f"model spec '{spec}': torchvision has no weights '{tag}' for {spec.name}; {nearest(tag, tags)}"
        )
    with hub_or_file_errors(spec), _weights_only():
        if spec.file:
            state = read_state_dict(spec.file, ema=spec.options.ema)
            outputs = _outputs(state, classes)
            net = torchvision.models.get_model(spec.name, weights=None, num_classes=outputs)
            check_fit(net, state, spec, classes)
            net.load_state_dict(state)
        else:
            outputs = 1000
            net = torchvision.models.get_model(spec.name, weights=tags[tag])
    options, preset = spec.options, tags[tag].transforms()
    size = options.image_size or preset.crop_size[0]
    resize = size / (options.crop_pct or preset.crop_size[0] / preset.resize_size[0])
    interpolation = InterpolationMode(options.interpolation or preset.interpolation.value)
    geometry = Compose([Resize(round(resize), interpolation, antialias=preset.antialias), CenterCrop(size)])
    mean, std = options.mean or preset.mean, options.std or preset.std
    identity = spec.name, repr(geometry), mean, std
    return _classifier(net, outputs, spec, classes, size, geometry, mean, std, identity).to(device)


def _classifier(
    net: nn.Module,
    outputs: int,
    spec: ModelSpec,
    classes: ClassList,
    image_size: int,
    geometry: Geometry,
    mean: Sequence[float],
    std: Sequence[float],
    preprocessing: object,
) -> Classifier:
    fingerprint = fingerprint_of(net, spec.name, preprocessing, classes.keys)
    positions = classes.positions_in(class_list("imagenet")) if outputs == _IMAGENET else None
    if positions is not None and positions != tuple(range(_IMAGENET)):
        net = _Subset(net, positions)
    return Classifier(
        net,
        name=spec.text,
        classes=classes,
        image_size=image_size,
        geometry=Compose([ToRGB(), geometry]),  # both libraries convert when they read a file
        mean=mean,
        std=std,
        fingerprint=fingerprint,
    )


def _outputs(state: dict[str, Tensor], classes: ClassList) -> int:
    """How many classes a checkpoint's head should have: all of ImageNet's where it has so many and the suite's classes
    are some of them."""
    has_imagenet = any(value.ndim and value.shape[0] == _IMAGENET for value in state.values())
    return _IMAGENET if has_imagenet and classes.positions_in(class_list("imagenet")) else len(classes)


@contextmanager
def _weights_only() -> Iterator[None]:
    """torchvision unpickles what it downloads without restriction unless torch itself is told not to."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
