"""Attacks of torchattacks, run within the benchmark's rules: on images that are right when clean, in pixel units.

They draw random numbers a batch at a time: unlike our own attacks', their results depend on the batch size.
"""

from __future__ import annotations

import ast
import importlib
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import Tensor

from models.classifier import Classifier, predictions_of
from models.errors import InputError, nearest
from suites.conditions import PEERS

_NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd": ("PGD", {"steps": 40, "random_start": True}),
    "apgd-ce": ("APGD", {"loss": "ce"}),
    "apgd-t": ("APGDT", {}),
    "fab": ("FAB", {"multi_targeted": False}),
    "square": ("Square", {}),
    "autoattack": ("AutoAttack", {"version": "standard"}),
}
"""Name in a suite -> class and options; AutoAttack's standard version runs apgd-ce, apgd-t, fab-t, square."""
_RESTARTS = {"pgd": 5}
_NEEDS_CLASSES = ("apgd-t", "fab", "autoattack")


def attacked(victim: Classifier, name: str, images: Tensor, labels: Tensor, eps: float | None, seed: int) -> Tensor:
    """Predictions int64 (n,) after an attack `pgd`, ..., or `torchattacks:NAME?option=value`.

    `images` are float (n, 3, side, side) in [0, 1], right when clean. Raises `InputError` without torchattacks, for an
    unknown attack and for options that it does not have, and `FloatingPointError` where it leaves the ball.
    """
    attack, restarts = _made(victim, name, eps)
    images = images.contiguous()  # some of them take views of rows
    predictions = labels.clone()
    for restart in range(restarts):
        standing = (predictions == labels).nonzero().flatten()
        if not len(standing):
            break
        torch.manual_seed(seed + restart)
        with torch.enable_grad():
            adversarial = attack(images[standing], labels[standing]).detach()
        _check(name, adversarial, images[standing], eps)
        with torch.inference_mode():
            predictions[standing] = predictions_of(victim, victim(adversarial))
    return predictions


def _made(victim: Classifier, name: str, eps: float | None) -> tuple[Any, int]:
    try:
        library = importlib.import_module("torchattacks")
    except ImportError:
        raise InputError(
            f"attack '{name}' needs torchattacks; pip install --no-deps torchattacks (it pins old versions of what "
            "it hardly uses)"
        ) from None
    called, options = _NAMED.get(name) or _parsed(name)
    options = dict(options)
    if eps is not None:
        options["eps"] = eps
    if name == "pgd" and eps is not None:
        options["alpha"] = eps / 4
    if name in _NEEDS_CLASSES:
        options["n_classes"] = len(victim.classes)
    known = [n for n in dir(library) if n[:1].isupper() and isinstance(getattr(library, n), type)]
    if called not in known:
        raise InputError(f"attack '{name}': torchattacks has no {called}; {nearest(called, known)}")
    try:
        return getattr(library, called)(victim, **options), _RESTARTS.get(name, 1)
    except TypeError as error:
        hint = '; write eps = ["none"] for an attack without eps' if "'eps'" in str(error) else ""
        raise InputError(f"attack '{name}': {error}{hint}") from None


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    called, _, query = name.removeprefix(PEERS).partition("?")
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
