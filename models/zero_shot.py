"""Zero-shot classifiers: an open_clip model and a head made of its own text embeddings."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
import torch
from filelock import FileLock
from open_clip import (
    CLIP,
    OPENAI_IMAGENET_TEMPLATES,
    add_model_config,
    build_zero_shot_classifier,
    create_model,
    get_pretrained_cfg,
    get_tokenizer,
    list_models,
    list_pretrained_tags_by_model,
)
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import mini
from models.cache import cache_folder
from models.classes import ClassList
from models.classifier import Classifier, fingerprint_of
from models.errors import InputError, nearest
from models.loading import hub_or_file_errors, without_tensor_steps
from models.spec import ModelSpec

add_model_config(mini.FOLDER)

_TEMPLATE_TEXTS = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


class _ZeroShot(nn.Module):
    """logit scale x cosine between the image's embedding and each class's."""

    head: Tensor

    def __init__(self, clip: CLIP, head: Tensor) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("head", head)

    def forward(self, images: Tensor) -> Tensor:
        return self.clip.logit_scale.exp() * self.clip.encode_image(images, normalize=True) @ self.head


def load(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """Build the classifier of an `open_clip:` spec: 80 OpenAI templates x the names of `classes`.

    Raises `InputError` for an unknown architecture or tag, a file that does not fit, or a hub that can't be reached.
    """
    arch = spec.name
    if not arch.startswith("hf-hub:"):
        if arch not in list_models():
            raise InputError(
                f"model spec '{spec}': open_clip has no architecture '{arch}'; {nearest(arch, list_models())}"
            )
        tags = list_pretrained_tags_by_model(arch)
        if spec.tag and spec.tag.lower() not in tags:
            raise InputError(
                f"model spec '{spec}': open_clip has no weights '{spec.tag}' for {arch}; {nearest(spec.tag, tags)}"
            )
    with hub_or_file_errors(spec):
        pretrained = str(spec.file) if spec.file else spec.tag or None
        clip = create_model(
            arch,
            pretrained=pretrained,
            require_pretrained=True,
            weights_only=True,
            force_quick_gelu=_trained_with_quick_gelu(arch, spec.tag),
        )
        tokenizer = get_tokenizer(arch)
    clip.requires_grad_(False).eval().to(device)
    config = PreprocessCfg(**clip.visual.preprocess_cfg)
    fingerprint = fingerprint_of(clip, arch, config, classes.names, _TEMPLATE_TEXTS, open_clip.__version__)
    geometry = without_tensor_steps(image_transform_v2(config, is_train=False))
    size = config.size if isinstance(config.size, int) else config.size[0]
    return Classifier(
        _ZeroShot(clip, _head(clip, tokenizer, classes, fingerprint, device)),
        name=spec.text,
        classes=classes,
        image_size=size,
        geometry=geometry,
        mean=config.mean,
        std=config.std,
        fingerprint=fingerprint,
    ).to(device)


def _trained_with_quick_gelu(arch: str, tag: str) -> bool:
    """Some tags, `openai` among them, need an activation that the plain architecture of the name does not have."""
    return bool(tag and (get_pretrained_cfg(arch, tag) or {}).get("quick_gelu"))


def _head(
    clip: CLIP, tokenizer: Callable[..., Tensor], classes: ClassList, fingerprint: str, device: torch.device
) -> Tensor:
    """The class embeddings (width, classes), built once: 80 000 prompts take a minute on a GPU, hours on a CPU."""
    file = cache_folder() / "heads" / f"{fingerprint}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        try:
            return load_file(file)["head"].clone().to(device)  # a copy: the loaded tensor is a view of the file
        except (FileNotFoundError, SafetensorError):
            head = build_zero_shot_classifier(clip, tokenizer, classes.names, OPENAI_IMAGENET_TEMPLATES, device=device)
            partial = file.with_suffix(".partial")
            save_file({"head": head.cpu().contiguous()}, partial)
            partial.replace(file)
            return head
