"""From a spec string to a classifier."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from models.errors import InputError
from models.spec import ModelSpec, parse

if TYPE_CHECKING:
    import torch

    from models.classes import ClassList
    from models.classifier import Classifier

__all__ = ["InputError", "ModelSpec", "load", "parse"]


def load(spec: ModelSpec | str, classes: ClassList, device: torch.device | str = "cpu") -> Classifier:
    """Load a model as a classifier over `classes`, and run a probe image through it.

    Raises `InputError` with one sentence for anything that is wrong with the spec, its files or the model.
    """
    import torch

    from models.classifier import probe

    spec = parse(spec) if isinstance(spec, str) else spec
    device = torch.device(device)
    if spec.kind == "open_clip":
        from models import zero_shot

        classifier = zero_shot.load(spec, classes, device)
    elif spec.kind == "timm":
        from models import supervised

        classifier = supervised.load(spec, classes, device)
    elif spec.kind == "mini":
        classifier = _load_mini(spec, classes, device)
    else:
        classifier = _load_python(spec, classes, device)
    probe(classifier)
    return classifier


def _load_mini(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from models import mini, supervised, zero_shot
    from models.mini.world import SIZE

    if spec.name == "clip":
        inner = ModelSpec(spec.text, "open_clip", mini.CLIP_ARCHITECTURE, file=mini.CLIP_WEIGHTS)
        return zero_shot.load(inner, classes, device)
    inner = ModelSpec(spec.text, "timm", mini.SUPERVISED_ARCHITECTURE, file=mini.SUPERVISED_WEIGHTS)
    return supervised.load(inner, classes, device, input_size=(3, SIZE, SIZE), crop_pct=1.0)


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
