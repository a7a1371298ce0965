"""Learned prompts: a gradient-guided search over token ids, after AutoPrompt (Shin et al. 2020, section 2.2).

One position after the other, the tokens that a first-order estimate of the loss ranks best are tried on labelled
images, and the best is kept if it lowers the loss. Image embeddings are computed once; the loop runs the text tower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_robustness.models.head import encode_text
from clip_robustness.models.templates import Tokenizer, TokenTemplate, bpe_of

_TEXTS_AT_ONCE = 512


@dataclass(frozen=True)
class Budget:
    """How long to search: tokens `before` and `after` the class name, rounds over all of them, tokens tried at each."""

    before: int = 4
    after: int = 1
    sweeps: int = 4
    candidates: int = 16

    @property
    def steps(self) -> int:
        """So many positions are tried at most."""
        return self.sweeps * (self.before + self.after)


@dataclass(frozen=True)
class Found:
    """A prompt that a restart ended with, and how well it does on the images of the search."""

    template: TokenTemplate
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Task:
    """What prompts are judged by: unit image embeddings float32 (n, width) with labels int64 (n,), and class names."""

    clip: Any
    tokenizer: Tokenizer
    names: tuple[str, ...]
    features: Tensor
    labels: Tensor

    def class_embeddings(self, templates: Sequence[TokenTemplate]) -> Tensor:
        """Unit vectors (templates, classes, width), each template by itself."""
        tokens = torch.cat([template.tokens(self.names, self.tokenizer) for template in templates])
        blocks = [encode_text(self.clip, block) for block in tokens.split(_TEXTS_AT_ONCE)]
        return torch.cat(blocks).view(len(templates), len(self.names), -1)

    def loss(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and accuracy over the images, of class embeddings (classes, width)."""
        logits = self.clip.logit_scale.exp() * self.features @ embeddings.T
        return F.cross_entropy(logits, self.labels), (logits.argmax(1) == self.labels).float().mean()

    def judge(self, templates: Sequence[TokenTemplate]) -> list[Found]:
        """Each template by itself on all images."""
        with torch.inference_mode():
            results = [self.loss(embeddings) for embeddings in self.class_embeddings(templates)]
        return [
            Found(template, float(loss), float(accuracy))
            for template, (loss, accuracy) in zip(templates, results, strict=True)
        ]


def search(task: Task, budget: Budget, seed: int, step: Callable[[], object] = lambda: None) -> Found:
    """One restart from random tokens. `step` is called after each position."""
    rng = np.random.default_rng(seed)
    vocabulary = bpe_of(task.tokenizer)
    words = vocabulary.vocab_size - len(vocabulary.all_special_ids)  # which are the last ids
    start = rng.integers(words, size=budget.before + budget.after).tolist()
    best = task.judge([TokenTemplate(tuple(start[: budget.before]), tuple(start[budget.before :]))])[0]
    for _ in range(budget.sweeps):
        before = best
        for position in rng.permutation(len(start)):
            tokens = promising_tokens(task, best.template, int(position), budget.candidates)
            candidates = task.judge([_with_token(best.template, int(position), token) for token in tokens])
            best = min([best, *candidates], key=lambda found: found.loss)
            step()
        if best is before:
            break
    return best


def promising_tokens(task: Task, template: TokenTemplate, position: int, count: int) -> list[int]:
    """The token ids that should lower the loss most at a position (those before the name first), to first order."""
    estimate = _token_table(task.clip).weight @ gradient_at(task, template, position)
    estimate[bpe_of(task.tokenizer).all_special_ids] = torch.inf
    estimate[(*template.before, *template.after)[position]] = torch.inf
    return estimate.topk(count, largest=False).indices.tolist()


def gradient_at(task: Task, template: TokenTemplate, position: int) -> Tensor:
    """The loss's gradient (width) with respect to the embedding of the prompt's token at a position, in all classes."""
    with torch.no_grad():
        embeddings = task.class_embeddings([template])[0]
    embeddings.requires_grad_()
    (wanted,) = torch.autograd.grad(task.loss(embeddings)[0], embeddings)
    table = _token_table(task.clip)
    gradient = torch.zeros_like(table.weight[0])
    tokens = template.tokens(task.names, task.tokenizer)
    columns = _columns(task, template, position)
    taken: list[Tensor] = []
    handle = table.register_forward_hook(lambda *call: taken.append(call[2].requires_grad_()))
    try:  # class by class, so that memory does not grow with their number
        for rows in torch.arange(len(tokens)).split(_TEXTS_AT_ONCE):
            taken.clear()
            along = (encode_text(task.clip, tokens[rows]) * wanted[rows.to(wanted.device)]).sum()
            (of_tokens,) = torch.autograd.grad(along, taken)
            gradient += of_tokens[torch.arange(len(rows)), columns[rows]].sum(0)
    finally:
        handle.remove()
    return gradient


def _columns(task: Task, template: TokenTemplate, position: int) -> Tensor:
    """Where the prompt's token at `position` stands in each class's text."""
    if position < len(template.before):
        return torch.full((len(task.names),), 1 + position)
    encode = bpe_of(task.tokenizer).encode
    return torch.tensor([1 + position + len(encode(name)) for name in task.names])


def _with_token(template: TokenTemplate, position: int, token: int) -> TokenTemplate:
    if position < len(template.before):
        return replace(template, before=_replaced(template.before, position, token))
    return replace(template, after=_replaced(template.after, position - len(template.before), token))


def _replaced(ids: tuple[int, ...], position: int, token: int) -> tuple[int, ...]:
    return (*ids[:position], token, *ids[position + 1 :])


def _token_table(clip: Any) -> torch.nn.Embedding:
    table: torch.nn.Embedding = (getattr(clip, "text", None) or clip).token_embedding
    return table


def weights_of(found: Sequence[Found]) -> dict[TokenTemplate, float]:
    """Each prompt once, weighted by how often it was found and how well it does, adding up to one."""
    weights: dict[TokenTemplate, float] = {}
    for one in found:
        weights[one.template] = weights.get(one.template, 0) + one.accuracy
    total = sum(weights.values()) or 1
    return {template: weight / total for template, weight in weights.items()}
