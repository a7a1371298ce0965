"""Zero-shot classifiers: an open_clip model and a head made of its own text embeddings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from open_clip import (
    add_model_config,
    create_model,
    get_model_config,
    get_pretrained_cfg,
    get_tokenizer,
    list_models,
    list_pretrained_tags_by_model,
)
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from models import mini
from models.classes import ClassList, namesakes, renamed
from models.classifier import Classifier, fingerprint_of
from models.errors import InputError, ModelWarning, nearest
from models.head import cached_class_embeddings
from models.loading import check_fit, hub_or_file_errors, quiet, read_state_dict, without_tensor_steps
from models.spec import ModelSpec
from models.templates import Tokenizer, read_prompts

add_model_config(mini.FOLDER)

_TEXT_TOWERS = ("transformer", "token_embedding", "ln_final", "text", "text_decoder")
_OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's own state dicts that are no weights."""


class ZeroShot(nn.Module):
    """logit scale x cosine between the image's embedding and each class's, plus the bias of sigmoid losses."""

    head: Tensor

    def __init__(self, clip: Any, head: Tensor) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("head", head)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images -> their embeddings, of length 1."""
        embedded: Tensor = self.clip.encode_image(images, normalize=True)
        return embedded

    def forward(self, images: Tensor) -> Tensor:
        logits = self.clip.logit_scale.exp() * self.embed(images) @ self.head
        bias = self.clip.logit_bias
        return logits if bias is None else logits + bias


@dataclass(frozen=True)
class Clip:
    """A loaded open_clip model, frozen and in evaluation mode, with its tokenizer and its preprocessing."""

    net: Any
    tokenizer: Tokenizer
    preprocessing: PreprocessCfg
    architecture: object
    """What the weights alone don't tell: the configuration and the activation."""


def load(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """Build the classifier of an `open_clip:` spec from prompts and the names of `classes`.

    Raises `InputError` for an unknown architecture or tag, a file that does not fit, or a hub that can't be reached.
    """
    options = spec.options
    names = classes.names
    if options.class_names not in (None, "open_clip"):
        names = renamed(classes, Path(options.class_names)).names
    _warn_of_namesakes(spec, replace(classes, names=names))
    prompts = read_prompts(options.prompts or classes.prompts)
    clip = load_clip(spec, device)
    config = clip.preprocessing
    identity = clip.architecture, config, names, prompts.templates, prompts.weights
    fingerprint = fingerprint_of(clip.net, *identity)
    head = cached_class_embeddings(clip.net, clip.tokenizer, names, prompts, fingerprint)
    for tower in _TEXT_TOWERS:  # the head stands for it; free the memory
        if hasattr(clip.net, tower):
            setattr(clip.net, tower, None)
    return Classifier(
        ZeroShot(clip.net, head),
        name=spec.text,
        classes=classes,
        image_size=config.size if isinstance(config.size, int) else config.size[0],
        geometry=without_tensor_steps(image_transform_v2(config, is_train=False)),
        mean=config.mean,
        std=config.std,
        fingerprint=fingerprint,
        prompts=f"{prompts.name}, {len(prompts.templates)} templates, {prompts.digest(names)}",
    ).to(device)


def _warn_of_namesakes(spec: ModelSpec, classes: ClassList) -> None:
    if same := namesakes(classes):
        first, second = same[0]
        warnings.warn(
            f"{spec}: the classes {first} and {second} are both called '{classes.names[classes.keys.index(first)]}', "
            f"which no prompt can tell apart ({len(same)} such pairs)",
            ModelWarning,
            stacklevel=2,
        )


def load_clip(spec: ModelSpec, device: torch.device) -> Clip:
    """The model of an `open_clip:` spec, or of `mini:clip`, with both towers. Raises `InputError` like `load`."""
    if spec.kind == "mini":
        spec = mini.inner(spec)
    if spec.kind != "open_clip":
        raise InputError(f"model spec '{spec}': a CLIP is expected, as open_clip:ARCH/TAG or mini:clip")
    _check_names(spec)
    options = spec.options
    wanted = {
        "mean": options.mean,
        "std": options.std,
        "interpolation": options.interpolation,
        "resize_mode": options.resize_mode,
    }
    with hub_or_file_errors(spec):
        state = read_state_dict(spec.file, ema=options.ema) if spec.file else None
        config = get_model_config(spec.name)
        quick_gelu = _quick_gelu(spec, state, config)
        # the weights of a timm tower fit at its own size only; its size can change after they are loaded
        later = "timm_model_name" in config["vision_cfg"]
        with quiet():
            net = create_model(
                spec.name,
                pretrained=spec.tag or None,
                load_weights=state is None,
                require_pretrained=state is None,
                pretrained_text=False,
                weights_only=True,
                force_quick_gelu=quick_gelu,
                force_image_size=None if later else options.image_size,
                force_preprocess_cfg={key: value for key, value in wanted.items() if value is not None},
            )
        if state is not None:
            _load_weights(net, state, spec)
        if later and options.image_size:
            net.visual.set_input_size(options.image_size)
        tokenizer = get_tokenizer(spec.name)
    preprocessing = replace(PreprocessCfg(**net.visual.preprocess_cfg), size=net.visual.image_size)
    if spec.file:
        _compare_with_published(spec, preprocessing)
    net.requires_grad_(False).eval().to(device)
    return Clip(net, tokenizer, preprocessing, (config, quick_gelu))


def _check_names(spec: ModelSpec) -> None:
    arch = spec.name
    if arch.startswith(("hf-hub:", "local-dir:")):
        return
    if arch not in list_models():
        raise InputError(f"model spec '{spec}': open_clip has no architecture '{arch}'; {nearest(arch, list_models())}")
    tags = list_pretrained_tags_by_model(arch)
    if spec.tag and spec.tag.lower() not in tags:
        raise InputError(
            f"model spec '{spec}': open_clip has no weights '{spec.tag}' for {arch}; {nearest(spec.tag, tags)}"
        )


def _load_weights(net: nn.Module, state: dict[str, Tensor], spec: ModelSpec) -> None:
    """What open_clip does with a checkpoint file, for weights that are in memory already."""
    state = convert_state_dict(net, {key: value for key, value in state.items() if key not in _OPENAI_MARKS})
    if "positional_embedding" in state and not hasattr(net, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # a number in some checkpoints, a list of one number in others
        if name in state and isinstance(own := getattr(net, name, None), Tensor) and own.numel() == state[name].numel():
            state[name] = state[name].reshape(own.shape)
    state.pop("text.transformer.embeddings.position_ids", None)  # written by old versions of transformers
    resize_pos_embed(state, net)
    resize_text_pos_embed(state, net)
    check_fit(net, state, spec)
    net.load_state_dict(state)


def _quick_gelu(spec: ModelSpec, state: dict[str, Tensor] | None, config: dict[str, Any]) -> bool:
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
    if state is None or not spec.file or config.get("quick_gelu"):
        return False
    if any(mark in state for mark in _OPENAI_MARKS):
        return True
    logged = _training_log(spec.file)
    if logged.get("model", spec.name).replace("/", "-") != spec.name:
        raise InputError(f"model spec '{spec}': its training log says that the architecture is {logged['model']}")
    if "force_quick_gelu" in logged:
        return logged["force_quick_gelu"] == "True"
    if f"{spec.name}-quickgelu" in list_models():
        warnings.warn(
            f"{spec}: the file does not say which activation it has, GELU is assumed; if it descends from OpenAI's "
            "weights write ?quick_gelu=true, if not ?quick_gelu=false",
            ModelWarning,
            stacklevel=2,
        )
    return False


def _training_log(file: Path) -> dict[str, str]:
    """The parameters that open_clip's training writes beside its folder of checkpoints, or nothing."""
    log = file.resolve().parent.parent / "params.txt"
    if file.resolve().parent.name != "checkpoints" or not log.is_file():
        return {}
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key: value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}


def _compare_with_published(spec: ModelSpec, ours: PreprocessCfg) -> None:
    """A file does not tell its preprocessing either: warn where all published weights of the architecture have
    another."""
    published = [get_pretrained_cfg(spec.name, tag) for tag in list_pretrained_tags_by_model(spec.name)]
    for key in ("mean", "std", "resize_mode"):
        default = getattr(ours, key)
        theirs = {tuple(v) if isinstance(v := cfg.get(key) or default, list | tuple) else v for cfg in published}
        if theirs and default not in theirs and getattr(spec.options, key) is None:
            value = next(iter(theirs))
            text = value if isinstance(value, str) else ",".join(str(number) for number in value)
            warnings.warn(
                f"{spec}: {key} {default} is assumed, published weights of {spec.name} have {text}; "
                f"if yours have it, too, write ?{key}={text}",
                ModelWarning,
                stacklevel=2,
            )
