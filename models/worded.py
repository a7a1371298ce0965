"""A zero-shot model under several wordings: one image tower, many heads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.precision import computing_in
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.templates import read_prompts
from clip_robustness.models.wordings import Asked, Wording, wordings
from clip_robustness.models.wrapped import Wrapped


class Worded(Wrapped):
    """Embeds an image once for all of its `heads`, float (wordings, width, classes). Its logits are those of the
    first."""

    heads: Tensor

    def __init__(self, inner: Classifier, names: Sequence[str], heads: Tensor, fingerprint: str) -> None:
        super().__init__(inner)
        self.names, self.fingerprint = tuple(names), fingerprint
        self.register_buffer("heads", heads)

    def in_fp32(self) -> Worded:
        exact = self.inner.in_fp32()
        return self if exact is self.inner else Worded(exact, self.names, self.heads, self.fingerprint)

    def under(self, wording: int) -> Worded:
        """The same under one of its wordings."""
        chosen = slice(wording, wording + 1)
        return Worded(self.inner, self.names[chosen], self.heads[chosen], f"{self.fingerprint} {wording}")

    def embed(self, images: Tensor) -> Tensor:
        """Images float (n, 3, side, side) in [0, 1] -> unit vectors (n, width)."""
        inner, net = self.inner, cast(Any, self.inner.net)
        with computing_in(inner.precision, images.device):
            embedded: Tensor = net.embed((images - inner.mean) / inner.std)
        return embedded.float()

    def forward(self, images: Tensor) -> Tensor:
        return 100 * self.embed(images) @ self.heads[0]

    def answers(self, embedded: Tensor) -> Tensor:
        """Top-1 classes int64 (wordings, n) of embeddings (n, width), head by head: all at once is no faster."""
        return torch.stack([_largest(embedded @ head) for head in self.heads])


def _largest(scores: Tensor) -> Tensor:
    """Of scores (n, classes) the places. On a CPU numpy takes a tenth of the time that torch takes."""
    return scores.argmax(1) if scores.device.type != "cpu" else torch.from_numpy(scores.numpy().argmax(1))


def worded(inner: Classifier, spec: ModelSpec, classes: ClassList, asked: Asked, seed: int) -> Worded:
    """A model under the wordings of a condition. Raises `InputError` for one that reads no text."""
    from clip_robustness.models import transformers_clip, zero_shot
    from clip_robustness.models.head import class_embeddings, encode_text

    if not hasattr(inner.net, "embed") or spec.kind not in ("open_clip", "mini", "transformers"):
        raise InputError(f"{spec}: only a CLIP of open_clip: or transformers: can be asked in other words")
    load = transformers_clip.load_clip if spec.kind == "transformers" else zero_shot.load_clip
    clip = load(spec, inner.mean.device)
    names = zero_shot.as_named(spec, classes).names
    own = Wording("its own", names, read_prompts(spec.options.prompts or classes.prompts))

    @torch.inference_mode()
    def distance(name: str, others: Sequence[str]) -> list[float]:
        tokens = own.prompts.templates[0].tokens([name, *others], clip.tokenizer)
        first, *rest = encode_text(clip.net, tokens)
        return [float(1 - first @ other) for other in rest]

    found = wordings(asked, own, classes, seed, distance)
    heads = torch.stack([class_embeddings(clip.net, clip.tokenizer, w.names, w.prompts).float() for w in found])
    identity = [(w.names, w.prompts.templates, w.prompts.weights) for w in found]
    fingerprint = hashlib.sha256(repr((inner.fingerprint, identity)).encode()).hexdigest()[:16]
    return Worded(inner, [w.name for w in found], heads, fingerprint)
