"""Zero-shot classifiers: an open_clip model and a head made of its own text embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from open_clip import (
    SimpleTokenizer,
    add_model_config,
    create_model,
    get_model_config,
    get_tokenizer,
    list_models,
    list_pretrained_tags_by_model,
)
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from clip_robustness.datasets.classes import ClassList, namesakes, renamed
from clip_robustness.errors import InputError, nearest, warn
from clip_robustness.models import embedded as mini
from clip_robustness.models.architectures import read_config, registered, unlike
from clip_robustness.models.checkpoint import Checkpoint, read_checkpoint, weights_in
from clip_robustness.models.classifier import Classifier, identified, weights_of
from clip_robustness.models.clip_plan import OPENAI_MARKS, plan_of, size_of
from clip_robustness.models.head import cached_class_embeddings, some_tokens, tokens_digest
from clip_robustness.models.loading import check_fit, hub_or_file_errors, quiet, without_tensor_steps
from clip_robustness.models.preprocessing import Preprocessing
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.templates import Tokenizer, read_prompts

add_model_config(mini.FOLDER)

_TEXT_TOWERS = ("transformer", "token_embedding", "ln_final", "text", "text_decoder")
_TOKEN_EMBEDDINGS = ("token_embedding", "word_embeddings", "embed_tokens", "shared")
_RESIZE_MODES = {
    "shortest": "shortest side, centre crop",
    "longest": "longest side, padded",
    "squash": "squashed",
}


_LARGEST_SCALE = 1000.0
"""Published models multiply their cosines by 10 to 120."""


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
        return self.scores(self.embed(images))

    def scores(self, embedded: Tensor) -> Tensor:
        """What `embed` gives -> logits."""
        logits: Tensor = self.clip.logit_scale.exp() * embedded @ self.head
        bias = self.clip.logit_bias
        return logits if bias is None else logits + bias


@dataclass(frozen=True)
class Clip:
    """A loaded open_clip model, frozen and in evaluation mode, with its tokenizer and its preprocessing."""

    net: Any
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    architecture: object
    """What the weights alone don't tell: the configuration and the activation."""
    texts: tuple[str, ...] = _TEXT_TOWERS
    """The parts of `net` that texts alone need."""


def as_named(spec: ModelSpec, classes: ClassList) -> ClassList:
    """The classes under the names that a spec asks for."""
    given = spec.options.class_names
    return classes if given in (None, "open_clip") else renamed(classes, Path(given))


def load(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """The classifier of an `open_clip:` spec. Raises `InputError` as `classifier_of` does."""
    return classifier_of(load_clip, spec, classes, device)


def classifier_of(
    clip_of: Callable[[ModelSpec, torch.device], Clip], spec: ModelSpec, classes: ClassList, device: torch.device
) -> Classifier:
    """Build the classifier of a spec whose CLIP `clip_of` loads, from prompts and the names of `classes`.

    Raises `InputError` for an unknown architecture or tag, a file that does not fit, or a hub that can't be reached.
    """
    named = as_named(spec, classes)
    names = named.names
    _warn_of_namesakes(spec, named)
    prompts = read_prompts(spec.options.prompts or classes.prompts)
    clip = clip_of(spec, device)
    _check_scale(spec, clip.net)
    prepared = clip.preprocessing
    tokens = some_tokens(clip.tokenizer, names, prompts)
    _check_vocabulary(spec, clip, tokens)
    identity = clip.architecture, prepared, names, prompts.templates, prompts.weights, tokens_digest(tokens)
    weights = weights_of(clip.net)
    fingerprint = identified(weights, *identity)
    head = cached_class_embeddings(clip.net, clip.tokenizer, names, prompts, fingerprint)
    for part in clip.texts:  # the head stands for them; free the memory
        place, _, name = part.rpartition(".")
        if hasattr(holder := clip.net.get_submodule(place), name):
            setattr(holder, name, None)
    classifier = Classifier(
        ZeroShot(clip.net, head),
        name=spec.text,
        classes=classes,
        **prepared.arguments,
        fingerprint=fingerprint,
        weights=weights,
        prompts=f"{prompts.name}, {len(prompts.templates)} templates, {prompts.digest(names)}",
    )
    classifier.elsewhere = spec.kind != "transformers" and not isinstance(clip.tokenizer, SimpleTokenizer)
    return classifier.to(device)


def _check_vocabulary(spec: ModelSpec, clip: Clip, tokens: Tensor) -> None:
    """Raise `InputError` for a tokenizer with tokens that the text tower does not know; warn where open_clip's own, the
    default of architectures that name none, knows fewer."""
    rows = next((m.num_embeddings for key, m in clip.net.named_modules() if key.endswith(_TOKEN_EMBEDDINGS)), None)
    if rows is None:
        return
    mend = "name its own as text_cfg.hf_tokenizer_name" if spec.kind == "open_clip" else "put its own into the folder"
    if (largest := int(tokens.max())) >= rows:
        raise InputError(
            f"model spec '{spec}': its tokenizer gives token {largest}, its text tower has {rows} of them; {mend}"
        )
    if isinstance(clip.tokenizer, SimpleTokenizer) and rows > clip.tokenizer.vocab_size:
        warn(
            f"{spec}: its text tower has {rows} tokens, but CLIP's tokenizer with {clip.tokenizer.vocab_size} is "
            f"assumed; if it was trained with another {mend}"
        )


def _check_scale(spec: ModelSpec, net: Any) -> None:
    """Some exports have the factor of the cosines, 100, where its logarithm, 4.6, belongs: logits overflow."""
    stored = float(net.logit_scale)
    if not stored <= math.log(_LARGEST_SCALE):
        raise InputError(
            f"model spec '{spec}': its logit_scale is {stored:g}, but no CLIP multiplies cosines by exp({stored:g}); "
            "where the file has the factor itself, save its logarithm"
        )


def _warn_of_namesakes(spec: ModelSpec, classes: ClassList) -> None:
    if same := namesakes(classes):
        first, second = same[0]
        warn(
            f"{spec}: the classes {first} and {second} are both called '{classes.names[classes.keys.index(first)]}', "
            f"which no prompt can tell apart ({len(same)} such pairs)"
        )


def load_clip(spec: ModelSpec, device: torch.device) -> Clip:
    """The model of an `open_clip:` spec, or of `mini:clip`, with both towers. Raises `InputError` like `load`."""
    if spec.kind == "mini":
        spec = mini.inner(spec)
    if spec.kind != "open_clip":
        raise InputError(f"model spec '{spec}': a CLIP is expected, as open_clip:ARCH/TAG or mini:clip")
    folder = spec.folder
    _check_names(spec)
    with hub_or_file_errors(spec):
        name, config, published = _architecture(spec, folder)
        file = spec.file or (weights_in(folder) if folder else None)
        checkpoint = read_checkpoint(file, ema=spec.options.ema) if file else None
        if checkpoint:
            _check_towers(spec, checkpoint)
        plan = plan_of(spec, config, published, checkpoint.weights if checkpoint else None)
        # the weights of a timm tower fit at its own size only; its size can change after they are loaded
        later = "timm_model_name" in config["vision_cfg"]
        with quiet():
            net = create_model(
                name,
                pretrained=spec.tag or None,
                load_weights=checkpoint is None,
                require_pretrained=checkpoint is None,
                pretrained_text=False,
                weights_only=True,
                force_image_size=None if later else plan.image_size,
                force_context_length=plan.context_length,
                **plan.arguments,
            )
        if later and plan.own_size and plan.own_size != net.visual.image_size:
            net.visual.set_input_size(plan.own_size)
        if checkpoint:
            _load_weights(net, checkpoint, spec, config)
        elif plan.image_size and size_of(net.state_dict()) and plan.image_size != config["vision_cfg"]["image_size"]:
            warn(f"{spec}: its positional embedding is resized to {plan.image_size} px")
        if later and plan.image_size:
            net.visual.set_input_size(plan.image_size)
        tokenizer = _tokenizer(name, config["text_cfg"], plan.context_length)
    net.requires_grad_(False).eval().to(device)
    return Clip(net, tokenizer, _preprocessing(net.visual, spec), (config, plan.arguments))


def _tokenizer(name: str, text: dict[str, Any], context_length: int | None) -> Tokenizer:
    """open_clip's `get_tokenizer`; one for all models of CLIP's own, which takes as long to make as a small model."""
    if ":" in name or "siglip" in name.lower() or text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"):
        found: Tokenizer = get_tokenizer(name, context_length=context_length)
        return found
    return _clips_own(context_length or text.get("context_length", DEFAULT_CONTEXT_LENGTH))


@cache
def _clips_own(context_length: int) -> SimpleTokenizer:
    return SimpleTokenizer(context_length=context_length)


def _preprocessing(tower: Any, spec: ModelSpec) -> Preprocessing:
    config = replace(PreprocessCfg(**tower.preprocess_cfg), size=tower.image_size)
    sides = {config.size} if isinstance(config.size, int) else set(config.size)
    if len(sides) > 1:
        raise InputError(f"model spec '{spec}': it takes images of {config.size} px, here they must be square")
    return Preprocessing(
        size=sides.pop(),
        mean=tuple(config.mean),
        std=tuple(config.std),
        interpolation=config.interpolation,
        crop=_RESIZE_MODES[config.resize_mode],
        geometry=without_tensor_steps(image_transform_v2(config, is_train=False)),
    )


def _check_names(spec: ModelSpec) -> None:
    arch = spec.name
    if arch.startswith(("hf-hub:", "local-dir:")) or spec.options.config:
        return
    if arch not in list_models():
        raise InputError(f"model spec '{spec}': open_clip has no architecture '{arch}'; {nearest(arch, list_models())}")
    tags = list_pretrained_tags_by_model(arch)
    if spec.tag and spec.tag.lower() not in tags:
        raise InputError(
            f"model spec '{spec}': open_clip has no weights '{spec.tag}' for {arch}; {nearest(spec.tag, tags)}"
        )


def _architecture(spec: ModelSpec, folder: Path | None) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What open_clip calls the architecture, its configuration, and the preprocessing that comes with it."""
    if spec.options.config:
        file = Path(spec.options.config)
        config, published = read_config(file)
        return registered(file, config), config, published
    if folder:
        return (spec.name, *read_config(folder / "open_clip_config.json"))
    return spec.name, get_model_config(spec.name), {}


def _check_towers(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Raise `InputError` for an image tower alone, whose keys have lost their common prefix."""
    weights, form = checkpoint.weights, f" ({checkpoint.form})" if checkpoint.form else ""
    if weights.keys() & {"class_embedding", "conv1.weight"} or any(key.startswith("trunk.") for key in weights):
        raise InputError(
            f"model spec '{spec}': {spec.file or spec.folder} holds an image tower alone{form}; save the text tower "
            "with it"
        )


def _load_weights(net: nn.Module, checkpoint: Checkpoint, spec: ModelSpec, config: dict[str, Any]) -> None:
    """What open_clip does with a checkpoint file, for weights that are in memory already."""
    state = {key: value for key, value in checkpoint.weights.items() if key not in OPENAI_MARKS}
    state = convert_state_dict(net, state)
    if "positional_embedding" in state and not hasattr(net, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    if getattr(net, "logit_bias", None) is not None:  # which no loss but the sigmoid's trains; it changes no prediction
        state.setdefault("logit_bias", torch.zeros(()))
    for name in ("logit_scale", "logit_bias"):  # a number in some checkpoints, a list of one number in others
        if name in state and isinstance(own := getattr(net, name, None), Tensor) and own.numel() == state[name].numel():
            state[name] = state[name].reshape(own.shape)
    state.pop("text.transformer.embeddings.position_ids", None)  # written by old versions of transformers
    for name, _ in net.named_buffers():  # a TorchScript archive has those, too, that no state dict has
        if checkpoint.form and name not in net.state_dict():
            state.pop(name, None)
    hint = "; ".join(part for part in (checkpoint.form and f"it is {checkpoint.form}", unlike(config, state)) if part)
    resize_pos_embed(state, net)
    resize_text_pos_embed(state, net)
    check_fit(net, state, spec, hint=hint)
    net.load_state_dict(state)
