"""Supervised baselines: a timm or torchvision model with its own head."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import timm
import torch
import torchvision
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.vocabulary import Called, Vocabulary
from clip_robustness.errors import InputError, nearest, warn
from clip_robustness.models.checkpoint import read_checkpoint
from clip_robustness.models.classifier import Classifier, identified, weights_of
from clip_robustness.models.loading import ToRGB, check_fit, hub_or_file_errors, quiet, without_tensor_steps
from clip_robustness.models.preprocessing import Preprocessing
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.training_log import ImageTraining, image_training

_IMAGENET = 1000
_MADE_ANEW = ("relative_position_index", "attn_mask", "relative_coords_table")
"""Of Swin: what its authors' files have beside the weights, and timm computes."""


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
        if not spec.file:
            return wrap_timm(timm.create_model(spec.name, pretrained=True), spec, classes, device, **overrides)
        checkpoint = read_checkpoint(spec.file, ema=spec.options.ema)
        log = image_training(spec.file, checkpoint.arguments)
        _check_model(spec, log, timm.list_models())
        outputs = _outputs(checkpoint.weights, classes)
        net: Any = timm.create_model(spec.name, num_classes=outputs, **log.build)
        weights = _in_names_of_timm(net, spec, checkpoint.weights, outputs, log.build)
        if own := _own_size(net, weights):
            net.set_input_size(img_size=own)
        check_fit(net, weights, spec, classes)
        _check_counts(spec, log, outputs)
        _check_labels(spec, log, classes)
        net.load_state_dict(weights)
    size = log.image_size or own
    logged = {**log.preprocessing, **({"input_size": (3, size, size)} if size else {}), **overrides}
    if not tag and not overrides:
        prepared = resolve_data_config(logged, model=net)
        told = {*log.tells, *(("image_size",) if own else ())}
        _tell_assumed(spec, told, prepared["input_size"][-1], prepared["mean"], prepared["std"], "timm:NAME.TAG@FILE")
    return wrap_timm(net, spec, classes, device, **logged)


def _in_names_of_timm(
    net: nn.Module, spec: ModelSpec, weights: dict[str, Tensor], outputs: int, build: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The weights of an original repository, such as Swin's, ConvNeXt's or DeiT III's, by the names of timm, whose own
    filter gives them; all others as they are, also where the filter would drop some or make others of them."""
    if weights.keys() & net.state_dict().keys() == net.state_dict().keys():
        return weights
    overlay = {"state_dict": dict(weights), "num_classes": outputs, "label_offset": 0}
    with quiet(), suppress(Exception):  # the filter is written for weights that fit
        named = timm.create_model(
            spec.name, pretrained=True, num_classes=outputs, pretrained_cfg_overlay=overlay, **build
        ).state_dict()
        kept = {key: value for key, value in weights.items() if not key.endswith(_MADE_ANEW)}
        if Counter(map(Tensor.numel, kept.values())) == Counter(map(Tensor.numel, named.values())):
            return dict(named)
    return weights


def _check_counts(spec: ModelSpec, log: ImageTraining, outputs: int) -> None:
    """Raise `InputError` where the arguments of the training contradict the weights, or have other images."""
    if log.channels not in (None, 3):
        raise InputError(
            f"model spec '{spec}': the arguments of its training say that its images have {log.channels} channels "
            "(in_chans); here they have three"
        )
    if log.outputs not in (None, outputs):
        raise InputError(
            f"model spec '{spec}': the arguments of its training say that it has {log.outputs} classes (num_classes), "
            f"its weights have {outputs}; one of them is of another model"
        )


def _check_labels(spec: ModelSpec, log: ImageTraining, classes: ClassList) -> None:
    """Raise `InputError` where the outputs stand for the suite's classes in another order."""
    called = Vocabulary([Called((key,), (name,)) for key, name in zip(classes.keys, classes.names, strict=True)])
    found = [(i, *places) for i, places in enumerate(called.find(log.labels)) if len(places) == 1]
    if len(log.labels) == len(classes) and sum(i != place for i, place in found) > len(found) / 2:
        first = next(i for i, place in found if i != place)
        raise InputError(
            f"model spec '{spec}': its config.json calls output {first} '{log.labels[first]}', which the suite's class "
            f"list '{classes.name}' has in another place; write the list in the order of its label_names"
        )


def _own_size(net: Any, weights: Mapping[str, Tensor]) -> int | None:
    """The side of the images that a positional embedding in weights is for, in pixels; None without one."""
    ours, theirs = getattr(net, "pos_embed", None), weights.get("pos_embed")
    if ours is None or theirs is None or not ours.ndim == theirs.ndim == 3 or not hasattr(net, "set_input_size"):
        return None
    rows, columns = net.patch_embed.grid_size
    patches = theirs.shape[1] - (ours.shape[1] - rows * columns)  # the others are of class and register tokens
    side: int = math.isqrt(max(patches, 0)) * net.patch_embed.patch_size[0]
    return side or None


def _check_model(spec: ModelSpec, log: ImageTraining, known: Collection[str]) -> None:
    arch = (log.model or spec.name).partition(".")[0]
    if arch == spec.name.partition(".")[0]:
        return
    if arch in known:
        raise InputError(f"model spec '{spec}': the arguments of its training say that the model is {log.model}")
    warn(f"{spec}: the arguments of its training say that the model is {log.model}")


def _tell_assumed(
    spec: ModelSpec, told: Collection[str], size: int, mean: Sequence[float], std: Sequence[float], mend: str
) -> None:
    """Warn of the preprocessing that neither the file nor the spec tells."""
    default = {"image_size": f"{size} px", "mean": f"mean {_colour(mean)}", "std": f"std {_colour(std)}"}
    assumed = [text for key, text in default.items() if key not in told and getattr(spec.options, key) is None]
    if assumed:
        warn(
            f"{spec}: the file does not say how it was trained; assumed are {', '.join(assumed)}; if it was trained "
            f"with others write them as options, ?mean=R,G,B&std=R,G,B, or name weights that have them, {mend}"
        )


def _colour(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:.7g}" for number in numbers)


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
    config = resolve_data_config(overrides, model=net)
    height, width = config["input_size"][1:]
    if height != width:
        raise InputError(f"model spec '{spec}': it takes images of {height} x {width} px, here they must be square")
    if "input_size" in overrides and hasattr(net, "set_input_size"):
        before = getattr(net, "pos_embed", None)
        net.set_input_size(img_size=width)
        if before is not None and net.pos_embed is not before:
            warn(f"{spec}: its positional embedding is resized to {width} px")
    prepared = Preprocessing(
        size=width,
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        crop=f"{config['crop_mode']}, crop_pct {config['crop_pct']:.3g}",
        geometry=without_tensor_steps(create_transform(**config, is_training=False)),
    )
    return _classifier(net, net.num_classes, spec, classes, prepared).to(device)


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
    log, own = ImageTraining(), None
    with hub_or_file_errors(spec), _weights_only():
        if spec.file:
            checkpoint = read_checkpoint(spec.file, ema=spec.options.ema)
            log = image_training(spec.file, checkpoint.arguments)
            _check_model(spec, log, known)
            outputs = _outputs(checkpoint.weights, classes)
            own = _own_vit_size(checkpoint.weights)
            build = {"image_size": own} if own else _inception(spec, checkpoint.weights)
            net = torchvision.models.get_model(spec.name, weights=None, num_classes=outputs, **build)
            check_fit(net, checkpoint.weights, spec, classes)
            _check_counts(spec, log, outputs)
            net.load_state_dict(checkpoint.weights)
        else:
            outputs = 1000
            net = torchvision.models.get_model(spec.name, weights=tags[tag])
    options, preset, logged = spec.options, tags[tag].transforms(), log.preprocessing
    size = options.image_size or log.image_size or own or preset.crop_size[0]
    crop_pct = options.crop_pct or logged.get("crop_pct") or preset.crop_size[0] / preset.resize_size[0]
    interpolation = InterpolationMode(options.interpolation or logged.get("interpolation", preset.interpolation.value))
    resize = Resize(round(size / crop_pct), interpolation, antialias=preset.antialias)
    prepared = Preprocessing(
        size=size,
        mean=options.mean or logged.get("mean", preset.mean),
        std=options.std or logged.get("std", preset.std),
        interpolation=interpolation.value,
        crop=f"center, crop_pct {crop_pct:.3g}",
        geometry=Compose([resize, CenterCrop(size)]),
    )
    if spec.file and not spec.tag:
        told = {*log.tells, *(("image_size",) if own else ())}
        _tell_assumed(spec, told, size, prepared.mean, prepared.std, "torchvision:NAME/TAG@FILE")
    return _classifier(net, outputs, spec, classes, prepared).to(device)


def _inception(spec: ModelSpec, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """How GoogLeNet and Inception v3 are built for weights. Those that torchvision publishes, and what descends from
    them, normalise their input anew inside, which no weight tells; heads that only help training may be left out."""
    if spec.name not in ("googlenet", "inception_v3"):
        return {}
    if not spec.tag:
        warn(
            f"{spec}: the file does not say whether it descends from torchvision's weights, which normalise images "
            f"anew (transform_input); assumed is that it does not; else write torchvision:{spec.name}/DEFAULT@FILE"
        )
    auxiliary = any(key.lower().startswith("aux") for key in weights)
    return {"transform_input": bool(spec.tag), "aux_logits": auxiliary, "init_weights": False}


def _own_vit_size(weights: Mapping[str, Tensor]) -> int | None:
    """The same for torchvision's vision transformers."""
    if "encoder.pos_embedding" not in weights or "conv_proj.weight" not in weights:
        return None
    return math.isqrt(weights["encoder.pos_embedding"].shape[1] - 1) * weights["conv_proj.weight"].shape[-1]


def _classifier(
    net: nn.Module, outputs: int, spec: ModelSpec, classes: ClassList, prepared: Preprocessing
) -> Classifier:
    prepared = replace(prepared, geometry=Compose([ToRGB(), prepared.geometry]))  # as when both libraries read a file
    weights = weights_of(net)
    fingerprint = identified(weights, spec.name, prepared, repr(prepared.geometry), classes.keys)
    positions = classes.positions_in(class_list("imagenet")) if outputs == _IMAGENET else None
    if positions is not None and positions != tuple(range(_IMAGENET)):
        net = _Subset(net, positions)
    return Classifier(
        net, name=spec.text, classes=classes, fingerprint=fingerprint, weights=weights, **prepared.arguments
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
