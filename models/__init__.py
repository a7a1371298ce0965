"""From a spec string to a classifier."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from models.errors import InputError
from models.spec import ModelSpec, parse, parse_all

if TYPE_CHECKING:
    import torch

    from models.classes import ClassList
    from models.classifier import Classifier

__all__ = ["InputError", "ModelSpec", "load", "parse", "parse_all"]


def load(spec: ModelSpec | str, classes: ClassList, device: torch.device | str = "cpu") -> Classifier:
    """Load a model as a classifier over `classes`, make it fast, and run probe images through it.

    Raises `InputError` with one sentence for anything that is wrong with the spec, its files or the model; warns with
    `ModelWarning` of what the user should know.
    """
    import torch

    from models import speed
    from models.classifier import probe

    spec = parse(spec) if isinstance(spec, str) else spec
    device = torch.device(device)
    classifier = _LOADERS[spec.kind](spec, classes, device)
    probe(classifier)
    speed.tune(classifier, spec.options)
    return classifier


def _load_open_clip(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from models import zero_shot

    return zero_shot.load(spec, classes, device)


def _load_timm(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from models import supervised

    return supervised.load_timm(spec, classes, device)


def _load_torchvision(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from models import supervised

    return supervised.load_torchvision(spec, classes, device)


def _load_mini(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from models import mini, supervised, zero_shot
    from models.mini.world import SIZE

    if spec.name == "clip":
        return zero_shot.load(mini.inner(spec), classes, device)
    return supervised.load_timm(mini.inner(spec), classes, device, input_size=(3, SIZE, SIZE), crop_pct=1.0)


def _load_python(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """Call the user's own factory: `factory(spec, classes, device) -> Classifier`. This runs the user's code."""
    from models.classifier import Classifier

    module_name, _, factory_name = spec.name.partition(":")
    try:
        classifier = getattr(importlib.import_module(module_name), factory_name)(spec, classes, device)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"model spec '{spec}': {type(error).__name__}: {error}; "
            "write python:MODULE:FACTORY for an importable function"
        ) from error
    if not isinstance(classifier, Classifier):
        raise InputError(f"model spec '{spec}': the factory must return a Classifier, not {type(classifier).__name__}")
    return classifier


_LOADERS = {
    "open_clip": _load_open_clip,
    "timm": _load_timm,
    "torchvision": _load_torchvision,
    "mini": _load_mini,
    "python": _load_python,
}
