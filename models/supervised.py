"""Supervised baselines: a timm model with its own head."""

from __future__ import annotations

import timm
import torch
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import nn
from torchvision.transforms import Compose

from models.classes import ClassList
from models.classifier import Classifier, fingerprint_of
from models.errors import InputError, nearest
from models.loading import ToRGB, hub_or_file_errors, without_tensor_steps
from models.spec import ModelSpec


def load(spec: ModelSpec, classes: ClassList, device: torch.device, **overrides: object) -> Classifier:
    """Build the classifier of a `timm:` spec, with pretrained weights from the hub or those of its file.

    Raises `InputError` for an unknown name, a file that does not fit, or a hub that can't be reached.
    """
    if spec.name.partition(".")[0] not in timm.list_models():
        raise InputError(
            f"model spec '{spec}': timm has no model '{spec.name}'; {nearest(spec.name, timm.list_models())}"
        )
    with hub_or_file_errors(spec):
        if spec.file:
            net = timm.create_model(spec.name, num_classes=len(classes))
            timm.models.load_checkpoint(net, str(spec.file), strict=True, weights_only=True)
        else:
            net = timm.create_model(spec.name, pretrained=True)
    return wrap(net, spec, classes, device, **overrides)


def wrap(
    net: nn.Module,
    spec: ModelSpec,
    classes: ClassList,
    device: torch.device,
    **overrides: object,
) -> Classifier:
    """A timm network with weights -> `Classifier`, preprocessing from the network's own data config.

    `overrides` replace entries of that config: `input_size` (channels, height, width), `mean`, `std`, `crop_pct`, ...
    """
    config = resolve_data_config(overrides, model=net)
    transform = create_transform(**config, is_training=False)
    return Classifier(
        net,
        name=spec.text,
        classes=classes,
        image_size=config["input_size"][-1],
        geometry=Compose([ToRGB(), without_tensor_steps(transform)]),  # timm converts when it reads a file
        mean=config["mean"],
        std=config["std"],
        fingerprint=fingerprint_of(net, spec.name, sorted(config.items())),
    ).to(device)
