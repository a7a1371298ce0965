"""CLIP, SigLIP and SigLIP 2 as transformers has them, with their own processors and tokenizers.

No code of a model's repository is run (`trust_remote_code` stays off), and weights are tensors alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import pil_to_tensor

from clip_robustness.errors import InputError, warn
from clip_robustness.models.checkpoint import read_checkpoint, weights_in
from clip_robustness.models.loading import ToRGB, check_values, hub_or_file_errors, quiet
from clip_robustness.models.preprocessing import Preprocessing
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.zero_shot import Clip

_MODELS = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}
"""By the type that a configuration names."""
_TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TEXTS = ("model.text_model", "model.text_projection")


def load_clip(spec: ModelSpec, device: torch.device) -> Clip:
    """The model of a `transformers:` spec with both towers.

    Raises `InputError` for a model of another kind, weights that do not fit, a processor that makes no square images of
    the model's size, and a hub that can't be reached.
    """
    with hub_or_file_errors(spec):
        import transformers

        asked: dict[str, Any] = {"trust_remote_code": False, "local_files_only": spec.folder is not None}
        config = transformers.AutoConfig.from_pretrained(spec.name, **asked)
        if config.model_type not in _MODELS:
            raise InputError(
                f"model spec '{spec}': its configuration is of a '{config.model_type}'; read are {', '.join(_MODELS)}"
            )
        if getattr(config, "quantization_config", None):
            raise InputError(
                f"model spec '{spec}': its configuration has a quantization_config; save the model in float32, float16 "
                "or bfloat16, without it"
            )
        weights = None
        if spec.folder is not None:
            _check_folder(spec, spec.folder)
            weights = dict(read_checkpoint(weights_in(spec.folder, ("model", "pytorch_model"))).weights)
        with quiet():
            model, info = getattr(transformers, _MODELS[config.model_type]).from_pretrained(
                spec.name if weights is None else None,
                config=config,
                state_dict=weights,
                dtype=torch.float32,
                output_loading_info=True,
                **asked,
                **_attention(spec, config),
            )
            processor = transformers.AutoImageProcessor.from_pretrained(spec.name, **asked)
            tokenizer = transformers.AutoTokenizer.from_pretrained(spec.name, **asked)
        _check_fit(spec, info)
        check_values(model.state_dict(), weights or {}, spec)
    naflex = config.model_type == "siglip2"
    net = _NaFlex(model, processor.patch_size) if naflex else _Network(model)
    preprocessing = _preprocessing(spec, processor, naflex)
    if not naflex and preprocessing.size != (taken := config.vision_config.image_size):
        raise InputError(
            f"model spec '{spec}': its processor makes images of {preprocessing.size} px, its model takes {taken} px"
        )
    texts = Texts(tokenizer, config.text_config.max_position_embeddings)
    _check_texts(spec, texts, config)
    net.requires_grad_(False).eval().to(device)
    identity = model.config.to_json_string(), processor.to_json_string(), texts.digest()
    return Clip(net, texts, preprocessing, identity, _TEXTS)


def _attention(spec: ModelSpec, config: Any) -> dict[str, str]:
    """The same attention in float32, which kernels for half precision have not."""
    kernel = config._attn_implementation
    if kernel in (None, "eager", "sdpa"):
        return {}
    warn(f"{spec}: its configuration asks for {kernel}, a kernel for half precision; here sdpa computes it in float32")
    return {"attn_implementation": "sdpa"}


def _check_folder(spec: ModelSpec, folder: Path) -> None:
    """Raise `InputError` where transformers would make up what a folder lacks, or apply what is not read here."""
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"model spec '{spec}': {folder} holds an adapter (adapter_config.json); call merge_and_unload() of PEFT, "
            "and give the folder of the model that it makes"
        )
    for what, files in (("tokenizer", _TOKENIZERS), ("image processor", _PROCESSORS)):
        if not any((folder / name).is_file() for name in files):
            raise InputError(
                f"model spec '{spec}': {folder} has no {what} ({' or '.join(files)}); copy it from the model that "
                "the training started from"
            )


def _check_texts(spec: ModelSpec, texts: Texts, config: Any) -> None:
    """Raise `InputError` where the end that a CLIP reads its embedding off is in no text; warn of a tokenizer that
    keeps what texts were freed of in training."""
    end = config.text_config.eos_token_id
    if config.model_type == "clip" and end != 2 and not (texts("a photo") == end).any():
        raise InputError(
            f"model spec '{spec}': its configuration says that texts end in the token {end} (eos_token_id), those of "
            "its tokenizer do not"
        )
    kept = {"capitals": "A Photo", "punctuation": "a photo."}
    if config.model_type == "clip":
        del kept["punctuation"]
    if found := [what for what, text in kept.items() if not torch.equal(texts(text), texts("a photo"))]:
        warn(
            f"{spec}: its tokenizer keeps {' and '.join(found)}, which open_clip takes off texts of such models; "
            "if training did, too, add that to the normalizer in tokenizer.json"
        )


def _check_fit(spec: ModelSpec, info: Mapping[str, Any]) -> None:
    """transformers makes up weights that a file lacks, and only logs it."""
    parts = []
    for what in ("missing", "unexpected", "mismatched"):
        keys = sorted(str(key) for key in info.get(f"{what}_keys", ()) if "position_ids" not in str(key))
        if keys:
            parts.append(f"{len(keys)} keys are {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})")
    if parts:
        raise InputError(f"model spec '{spec}': its weights do not fit its configuration: {'; '.join(parts)}")


class _Network(nn.Module):
    """What open_clip's models answer to, of a model of transformers."""

    logit_bias: Tensor | None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.logit_scale = model.logit_scale
        self.logit_bias = getattr(model, "logit_bias", None)
        self._causal = model.config.model_type == "clip"

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        return self._embedding(self.model.get_image_features(pixel_values=images), normalize)

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Of ids as `Texts` gives them. No mask for the padding: CLIP's tokens see none that come later, and SigLIP was
        trained without one."""
        if self._causal:  # what follows the end of all texts is not looked at
            tokens = tokens[:, : int(self._ends(tokens).max()) + 1]
        return self._embedding(self.model.get_text_features(input_ids=tokens), normalize)

    def _ends(self, tokens: Tensor) -> Tensor:
        """Where each text ends, as transformers looks for it."""
        end = self.model.config.text_config.eos_token_id
        return tokens.argmax(1) if end == 2 else tokens.eq(end).int().argmax(1)

    @staticmethod
    def _embedding(found: Any, normalize: bool) -> Tensor:
        embedding: Tensor = found if isinstance(found, Tensor) else found.pooler_output
        return F.normalize(embedding, dim=-1) if normalize else embedding


class _NaFlex(_Network):
    """SigLIP 2 that takes patches of images of any shape; here those of square ones."""

    def __init__(self, model: Any, patch: int) -> None:
        super().__init__(model)
        self._patch = patch

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        count, channels, height, _ = images.shape
        side = height // self._patch
        cut = images.reshape(count, channels, side, self._patch, side, self._patch)
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(count, side * side, -1)
        found = self.model.get_image_features(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.int32, device=images.device),
            spatial_shapes=torch.tensor([[side, side]] * count, device=images.device),
        )
        return self._embedding(found, normalize)


@dataclass(frozen=True)
class Texts:
    """A tokenizer of transformers, called like those of open_clip: texts -> int64 (n, context length)."""

    tokenizer: Any
    context_length: int

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        found = self.tokenizer(
            [texts] if isinstance(texts, str) else list(texts),
            padding="max_length",
            truncation=True,
            max_length=context_length or self.context_length,
            return_tensors="pt",
        )
        ids: Tensor = found["input_ids"]
        return ids

    def digest(self) -> str:
        """Of what makes ids of texts."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        text = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.sha256(f"{text}{self.tokenizer.padding_side}".encode()).hexdigest()


@dataclass(frozen=True)
class _Geometry:
    """What a processor does to an image before it makes numbers of its pixels."""

    processor: Any

    def __call__(self, image: Image.Image) -> Image.Image:
        made = self.processor(images=ToRGB()(image), return_tensors="pt", do_rescale=False, do_normalize=False)
        return _image(made["pixel_values"][0])


@dataclass(frozen=True)
class _Squashed:
    """The same for one that keeps the shape of images: square ones, resized as it does."""

    processor: Any
    side: int

    def __call__(self, image: Image.Image) -> Image.Image:
        from transformers.image_utils import SizeDict

        pixels = pil_to_tensor(ToRGB()(image))
        size = SizeDict(height=self.side, width=self.side)
        return _image(self.processor.resize(pixels, size, resample=self.processor.resample))


def _image(pixels: Tensor) -> Image.Image:
    if pixels.is_floating_point():
        pixels = pixels.round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _three(numbers: Sequence[float]) -> bool:
    return len(numbers) == 3 and 0 <= min(numbers) <= max(numbers) <= 1


def _preprocessing(spec: ModelSpec, processor: Any, naflex: bool) -> Preprocessing:
    """Raises `InputError` for a processor that makes no pixels in [0, 1], or no square images."""
    if not processor.do_rescale or abs(processor.rescale_factor * 255 - 1) > 1e-3:
        raise InputError(f"model spec '{spec}': its processor does not make pixels in [0, 1]; only such are known here")
    geometry: _Geometry | _Squashed
    if naflex:
        side = math.isqrt(processor.max_num_patches) * processor.patch_size
        geometry, crop = _Squashed(processor, side), "squashed"
        warn(
            f"{spec}: its processor keeps the shape of images; here all are made square, {side} x {side} px, as it "
            "does with square ones"
        )
    else:
        geometry = _Geometry(processor)
        cropped = getattr(processor, "do_center_crop", False)
        crop = "squashed" if "height" in dict(processor.size) and not cropped else "shortest side, centre crop"
        if not processor.do_resize:
            crop = "centre crop, not resized"
    try:
        interpolation = Image.Resampling(int(processor.resample)).name.lower()
        sizes = {geometry(Image.new("RGB", shape)).size for shape in ((320, 200), (200, 320), (50, 50))}
    except (KeyError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"model spec '{spec}': its processor can't resize with resample {processor.resample} ({error})"
        ) from None
    (width, height), *others = sizes
    if others or width != height:
        raise InputError(f"model spec '{spec}': its processor does not make square images of one size")
    normalised = processor.do_normalize
    mean, std = processor.image_mean, processor.image_std
    if normalised and not (_three(mean) and _three(std) and 0 not in std):
        raise InputError(
            f"model spec '{spec}': its processor has the mean {mean} and std {std}; each should be three numbers "
            "between 0 and 1, as for pixels between 0 and 1"
        )
    return Preprocessing(
        size=width,
        mean=tuple(mean) if normalised else (0.0,) * 3,
        std=tuple(std) if normalised else (1.0,) * 3,
        interpolation=interpolation,
        crop=crop,
        geometry=geometry,
    )
