"""How an open_clip model is to be built: what the spec, the training log, the weights and the architecture say of it,
in this order, with a warning where one of them had to be guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from open_clip import get_pretrained_cfg, list_models, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg
from torch import Tensor

from clip_robustness.errors import InputError, warn
from clip_robustness.models import embedded as mini
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.training_log import ClipTraining, clip_training

OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's own state dicts that are no weights."""
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Plan:
    """`own_size` and `own_length` are what the positional embeddings of the weights are for, in pixels and tokens;
    `image_size` and `context_length` what the model shall take. None where nothing says. `arguments` are further ones
    of `open_clip.create_model`."""

    own_size: int | None
    own_length: int | None
    image_size: int | None
    context_length: int | None
    arguments: Mapping[str, Any]


def plan_of(
    spec: ModelSpec, config: Mapping[str, Any], published: Mapping[str, Any], weights: Mapping[str, Tensor] | None
) -> Plan:
    """Of an architecture's `config`, and the preprocessing that is published with it; `weights` are those of a file.

    Raises `InputError` where the training log contradicts the spec.
    """
    options = spec.options
    embedded = spec.file is not None and spec.file.parent == mini.FOLDER
    log = clip_training(spec.file) if spec.file else None
    if log:
        _check_model(spec, log)
    vision, text = config["vision_cfg"], config["text_cfg"]
    default_size, default_length = vision.get("image_size", 224), text.get("context_length", 77)
    own_size = size_of(weights) if weights is not None else default_size
    own_length = _length(weights, bool(text.get("embed_cls"))) if weights is not None else default_length
    image_size = _first(options.image_size, log and log.force_image_size, own_size)
    context_length = _first(log and log.force_context_length, own_length)
    _tell_sizes(spec, log, default_size, (own_size, image_size), default_length, (own_length, context_length))
    if weights is not None and not log and not embedded and not _openai(weights):
        _tell_assumed(spec, published, default_size if image_size is None else None)
    base = {**published, **_started_from(spec, log), **_logged(log)}
    asked = {key: value for key in _PREPROCESSING if (value := getattr(options, key)) is not None}
    arguments: dict[str, Any] = {
        "force_quick_gelu": quick_gelu(spec, weights, config, log),
        "force_custom_text": bool(log and log.force_custom_text) or any(k.startswith("text.") for k in weights or ()),
        "force_preprocess_cfg": base | asked,
    }
    if weights is not None and "logit_bias" in weights:  # of the sigmoid loss, which any architecture is trained with
        arguments["init_logit_bias"] = 0.0
    return Plan(own_size, own_length, image_size, context_length, arguments)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def size_of(weights: Mapping[str, Tensor]) -> int | None:
    """The side of the images, in pixels, that a positional embedding is for; a convolutional tower has none."""
    for embedding, patches in (
        ("visual.positional_embedding", "visual.conv1.weight"),
        ("visual.trunk.pos_embed", "visual.trunk.patch_embed.proj.weight"),
        ("visual.attnpool.positional_embedding", None),  # of a ResNet, which halves the resolution five times
    ):
        if embedding in weights and (patches is None or patches in weights):
            tokens = weights[embedding].shape[-2]
            side = next((math.isqrt(n) for n in (tokens - 1, tokens) if n and math.isqrt(n) ** 2 == n), None)
            return side and side * (weights[patches].shape[-1] if patches else 32)
    return None


def _length(weights: Mapping[str, Tensor], embeds_class: bool) -> int | None:
    found = _first(weights.get("positional_embedding"), weights.get("text.positional_embedding"))
    return None if found is None else found.shape[0] - embeds_class


def _openai(weights: Mapping[str, Tensor]) -> bool:
    return any(mark in weights for mark in OPENAI_MARKS)


def _check_model(spec: ModelSpec, log: ClipTraining) -> None:
    name = (log.model or spec.name).replace("/", "-")
    if name == spec.name:
        return
    if name in list_models() and not spec.options.config:
        raise InputError(f"model spec '{spec}': its training log says that the architecture is {name} ({log.file})")
    warn(f"{spec}: its training log says that the architecture is {log.model} ({log.file})")


def _logged(log: ClipTraining | None) -> dict[str, object]:
    found = {key: getattr(log, f"image_{key}") for key in _PREPROCESSING} if log else {}
    return {key: value for key, value in found.items() if value is not None}


def _started_from(spec: ModelSpec, log: ClipTraining | None) -> dict[str, object]:
    """Training that starts from published weights has their preprocessing unless it is told another."""
    tag = get_pretrained_cfg(spec.name, log.pretrained) if log and log.pretrained else None
    known = {field.name for field in fields(PreprocessCfg)} & set(_PREPROCESSING)
    return {key: value for key, value in (tag or {}).items() if key in known}


def _tell_sizes(
    spec: ModelSpec,
    log: ClipTraining | None,
    default_size: int,
    sizes: tuple[int | None, int | None],
    default_length: int,
    lengths: tuple[int | None, int | None],
) -> None:
    """Warn of positional embeddings that are resized, or that are not those of the architecture; each pair is the
    weights' own and what is asked for."""
    for what, unit, default, (own, asked), mend in (
        ("positional embedding", "px", default_size, sizes, ", ?image_size={} keeps it"),
        ("text's positional embedding", "tokens", default_length, lengths, ""),
    ):
        if own is None or asked is None:
            continue
        if own != asked:
            warn(f"{spec}: its {what} is of {own} {unit} and resized to {asked}{mend.format(own)}")
        elif own != default and not log and asked != spec.options.image_size:
            warn(f"{spec}: its {what} is of {own} {unit}, not of the architecture's {default}; {own} {unit} are taken")


def _tell_assumed(spec: ModelSpec, published: Mapping[str, Any], size: int | None) -> None:
    """A file without a log does not tell its preprocessing; `size` is that of the architecture, where it is taken."""
    options, default = spec.options, PreprocessCfg()
    parts = [f"images of {size} px (image_size)"] if size else []
    for key in ("mean", "std"):
        if getattr(options, key) is None and published.get(key) is None:
            parts.append(f"{key} {_written(getattr(default, key))}")
    if parts:
        warn(
            f"{spec}: the file does not say how it was trained, no params.txt lies beside it; assumed are "
            f"{', '.join(parts)}; if it was trained with others write them as options, ?mean=R,G,B&std=R,G,B"
        )
    compare_with_published(spec, {key: published.get(key) or getattr(default, key) for key in _PREPROCESSING})


def compare_with_published(spec: ModelSpec, ours: Mapping[str, Any]) -> None:
    """Warn where all published weights of the architecture have another preprocessing than `ours`."""
    tags = [get_pretrained_cfg(spec.name, tag) for tag in list_pretrained_tags_by_model(spec.name)]
    for key in ("mean", "std", "resize_mode"):
        default = ours[key]
        theirs = {tuple(v) if isinstance(v := cfg.get(key) or default, list | tuple) else v for cfg in tags}
        if theirs and default not in theirs and getattr(spec.options, key) is None:
            text = _written(next(iter(theirs)))
            warn(
                f"{spec}: {key} {_written(default)} is assumed, published weights of {spec.name} have {text}; "
                f"if yours have it, too, write ?{key}={text}"
            )


def _written(value: object) -> str:
    return ",".join(f"{number:.7g}" for number in value) if isinstance(value, list | tuple) else str(value)


def quick_gelu(
    spec: ModelSpec, weights: Mapping[str, Tensor] | None, config: Mapping[str, Any], log: ClipTraining | None
) -> bool:
    """Whether the plain architecture of the name must be given OpenAI's activation.

    Weights fit both, and with the wrong one the accuracy silently falls by points. Tags say which they need; a file
    does so by OpenAI's marks in it or by the training log beside it; else the user is warned.
    """
    asked = spec.options.quick_gelu
    if asked is False and config.get("quick_gelu"):
        raise InputError(f"model spec '{spec}': {spec.name} has QuickGELU; name the architecture without it")
    if asked is not None:
        return asked
    if spec.tag:
        return bool((get_pretrained_cfg(spec.name, spec.tag) or {}).get("quick_gelu"))
    if weights is None or config.get("quick_gelu"):
        return False
    if _openai(weights):
        return True
    if log and log.force_quick_gelu is not None:
        if not log.force_quick_gelu and log.pretrained == "openai":
            warn(
                f"{spec}: its training started from OpenAI's weights, which open_clip before 3.0 trains on with "
                "QuickGELU, later with GELU, which is assumed; write ?quick_gelu=true or ?quick_gelu=false"
            )
        return log.force_quick_gelu
    if f"{spec.name}-quickgelu" in list_models():
        warn(
            f"{spec}: the file does not say which activation it has, GELU is assumed; if it descends from OpenAI's "
            "weights write ?quick_gelu=true, if not ?quick_gelu=false"
        )
    return False
