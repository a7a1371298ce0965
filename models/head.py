"""Zero-shot heads: class names and prompts -> the weights of a classifier, built in bounded memory and kept on disk."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from open_clip import CLIP
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from clip_robustness.cache import CacheError, cache_folder, kept
from clip_robustness.doing import progress
from clip_robustness.errors import ModelWarning, warn
from clip_robustness.models.code import code_of
from clip_robustness.models.prompt_check import PromptCheck
from clip_robustness.models.templates import Prompts, Tokenizer

_CLASSES_AT_ONCE, _TEXTS_AT_ONCE = 256, 256


def class_embeddings(
    clip: Any, tokenizer: Tokenizer, names: tuple[str, ...], prompts: Prompts, check: PromptCheck | None = None
) -> Tensor:
    """Unit vectors, float32 (width, classes): for each class the weighted mean of its normalised text embeddings,
    normalised (Radford et al. 2021, section 3.1.4).

    Texts of similar length are encoded together and cut to the longest, which changes nothing but rounding where
    later tokens can't be seen by earlier ones. `check` sees all tokens, and may raise.
    """
    weights = torch.tensor(prompts.weights) / sum(prompts.weights)
    blocks = []
    with torch.inference_mode(), progress(len(names) * len(weights), "zero-shot head", "text") as done:
        for start in range(0, len(names), _CLASSES_AT_ONCE):
            some = names[start : start + _CLASSES_AT_ONCE]
            tokens = torch.stack([template.tokens(some, tokenizer) for template in prompts.templates])
            if check:
                check.add(some, tokens)
            tokens = tokens.flatten(0, 1)
            total: Tensor | None = None
            for block in _lengths(tokens).argsort().split(_TEXTS_AT_ONCE):
                embeddings = encode_text(clip, tokens[block]).float()
                if total is None:
                    total = embeddings.new_zeros(len(some), embeddings.shape[1])
                weighted = embeddings * weights[block // len(some), None].to(total.device)
                total.index_add_(0, (block % len(some)).to(total.device), weighted)
                done(len(block))
            assert total is not None
            blocks.append(F.normalize(total, dim=1))
    return torch.cat(blocks).T.contiguous()


def encode_text(clip: Any, tokens: Tensor) -> Tensor:
    """Normalised text embeddings (n, width), on the model's device, of token ids int64 (n, context length)."""
    with _shortened(clip, int(_lengths(tokens).max())) as length:
        tokens = tokens[:, :length].to(next(clip.parameters()).device)
        embeddings: Tensor = clip.encode_text(tokens, normalize=True)
    return embeddings


def some_tokens(tokenizer: Tokenizer, names: tuple[str, ...], prompts: Prompts) -> Tensor:
    """What prompts become by the tokenizer's files, int64 (texts, context length): all names in one template, and one
    name in all templates."""
    first, *others = prompts.templates
    return torch.cat([first.tokens(names, tokenizer), *(one.tokens(names[:1], tokenizer) for one in others)])


def tokens_digest(tokens: Tensor) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(tokens.numpy().tobytes()).hexdigest()[:16]


def _lengths(tokens: Tensor) -> Tensor:
    """So many ids of each row come before its padding with zeros."""
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (tokens.ne(0) * positions).amax(1)


@contextmanager
def _shortened(clip: Any, length: int) -> Iterator[int]:
    """For a while let the text tower take so few tokens, where it is causal and reads off the end-of-text token; gives
    the number of tokens that it takes."""
    mask = getattr(clip, "attn_mask", None)
    if type(clip) is not CLIP or mask is None or clip.text_pool_type not in ("argmax", "eos"):
        yield sys.maxsize
        return
    positions = clip.positional_embedding
    clip.attn_mask, clip.positional_embedding = mask[:length, :length], nn.Parameter(positions[:length], False)
    try:
        yield length
    finally:
        clip.attn_mask, clip.positional_embedding = mask, positions


def cached_class_embeddings(
    clip: Any, tokenizer: Tokenizer, names: tuple[str, ...], prompts: Prompts, fingerprint: str
) -> Tensor:
    """`class_embeddings`, built once: 80 000 prompts take a minute on a GPU, hours on a CPU.

    Warns of prompts that are cut, also where the head was built before; raises as `PromptCheck.add` does.
    `fingerprint` stands for all that the embeddings depend on but code and libraries.
    """
    recipe = code_of([f"{__name__}.{class_embeddings.__name__}"]).digest()
    built: list[Tensor] = []
    check = PromptCheck(prompts, tokenizer)

    def build() -> Tensor:
        built[:] = built or [class_embeddings(clip, tokenizer, names, prompts, check)]
        return built[0]

    try:
        file = kept(
            cache_folder() / "heads" / f"{fingerprint}-{recipe}.safetensors",
            lambda partial: save_file({"head": build().cpu()}, partial, {"said": check.said()}),
        )
        try:
            with safe_open(file, "pt") as opened:
                head, said = opened.get_tensor("head"), opened.metadata()["said"]
        except SafetensorError:  # damaged
            file.unlink()
            head, said = build(), check.said()
    except (CacheError, OSError) as error:
        _warn(f"zero-shot heads are not kept, every run and worker builds them anew: {error}")
        head, said = build(), check.said()
    if said:
        warn(said)
    return head.clone().to(next(clip.parameters()).device)  # a copy: what is loaded is a view of the file


@cache
def _warn(text: str) -> None:
    """Once, however many models there are."""
    warnings.warn(text, ModelWarning, stacklevel=2)
