"""Attacks of torchattacks, run within the benchmark's rules: on images that are right when clean, in pixel units.

They draw random numbers a batch at a time, from the suite's seed: unlike our own attacks', their results depend on the
batch size.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import Tensor

from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.errors import InputError, nearest
from clip_robustness.models.classifier import Classifier, predictions_of
from clip_robustness.registry import attack


@attack(
    "torchattacks:", access="white-box", runner="itself", eps=("fixed", "none"), pictured=False, example="CW?c=1",
    about="any attack of that library", source="Kim 2020",
)  # fmt: skip
def on_images(context: Context, batches: Batches) -> Iterator[Answers]:
    """Batch by batch, each with the seed of its first image."""
    victim, condition = context.victim.in_fp32(), context.condition

    def answers(batch: Batch) -> Answers:
        def predicted(correct: list[int], images: Tensor) -> list[int]:
            labels = context.labels([batch[i][0] for i in correct])
            seed = int(context.rng(batch[0][0]).integers(2**31))
            return attacked(victim, condition.name, images, labels, condition.eps, seed).tolist()

        return context.where_correct(batch, predicted)

    return map(answers, batches)


def attacked(victim: Classifier, name: str, images: Tensor, labels: Tensor, eps: float | None, seed: int) -> Tensor:
    """Predictions int64 (n,) after an attack `torchattacks:NAME?option=value`.

    `images` are float (n, 3, side, side) in [0, 1], right when clean. Raises `InputError` without torchattacks, for an
    unknown attack and for options that it does not have, and `FloatingPointError` where it leaves the ball.
    """
    made = _made(victim, name, eps, seed)
    images = images.contiguous()  # some of them take views of rows
    torch.manual_seed(seed)
    with torch.enable_grad():
        adversarial = made(images, labels).detach()
    _check(name, adversarial, images, eps)
    with torch.inference_mode():
        return predictions_of(victim, victim(adversarial))


def _made(victim: Classifier, name: str, eps: float | None, seed: int) -> Any:
    try:
        library = importlib.import_module("torchattacks")
    except ImportError:
        raise InputError(
            f"attack '{name}' needs torchattacks; pip install --no-deps torchattacks (it pins old versions of what "
            "it hardly uses)"
        ) from None
    called, given = _parsed(name)
    known = [n for n in dir(library) if n[:1].isupper() and isinstance(getattr(library, n), type)]
    if called not in known:
        raise InputError(f"attack '{name}': torchattacks has no {called}; {nearest(called, known)}")
    kind = getattr(library, called)
    # theirs are the clock, and ten, for the nine targets that are published
    ours = {"seed": seed, "n_classes": min(10, len(victim.classes))}
    options = {key: value for key, value in ours.items() if key in inspect.signature(kind).parameters} | given
    if eps is not None:
        options["eps"] = eps
    try:
        return kind(victim, **options)
    except TypeError as error:
        hint = '; write eps = ["none"] for an attack without eps' if "'eps'" in str(error) else ""
        raise InputError(f"attack '{name}': {error}{hint}") from None


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    called, _, query = name.partition(":")[2].partition("?")
    return called, {key: _value(value) for key, value in parse_qsl(query)}


def _value(text: str) -> Any:
    """A number, True, False or None as such, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _check(name: str, adversarial: Tensor, images: Tensor, eps: float | None) -> None:
    if adversarial.min() < 0 or adversarial.max() > 1 or not adversarial.isfinite().all():
        raise FloatingPointError(f"attack '{name}' returned images outside [0, 1]")
    if eps is not None and (adversarial - images).abs().max() > eps + 1e-6:
        raise FloatingPointError(f"attack '{name}' left the ball of radius {eps:.4f}")
