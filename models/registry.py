"""From a spec to a classifier, by its kind."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from clip_robustness.errors import InputError
from clip_robustness.models.spec import ModelSpec, parse

if TYPE_CHECKING:
    import torch

    from clip_robustness.datasets.classes import ClassList
    from clip_robustness.models.classifier import Classifier
    from clip_robustness.models.code import Code


def load(spec: ModelSpec | str, classes: ClassList, device: torch.device | str = "cpu") -> Classifier:
    """Load a model as a classifier over `classes`, make it fast, and run probe images through it.

    Raises `InputError` with one sentence for anything that is wrong with the spec, its files or the model; warns with
    `ModelWarning` of what the user should know.
    """
    import torch

    from clip_robustness.models import speed
    from clip_robustness.models.classifier import probe

    spec = parse(spec) if isinstance(spec, str) else spec
    device = torch.device(device)
    classifier = _LOADERS[spec.kind](spec, classes, device)
    classifier.code = code_version(f"python:{spec.name.partition(':')[0]}" if spec.kind == "python" else spec.kind)
    probe(classifier)
    speed.tune(classifier, spec.options)
    return classifier


def code_version(builder: str) -> str:
    """Of what builds models: of a kind, or by a user's factory, `python:MODULE`."""
    return f"{code_behind(builder).digest()}@{builder}" if builder else ""


def code_behind(builder: str) -> Code:
    """As `code_version` has it."""
    from clip_robustness.models.code import code_of

    kind, _, module = builder.partition(":")
    if module:  # a factory may load models of any kind
        return code_of([f"{__name__}.load", module])
    return code_of([f"{__name__}.load"], chosen=[kind])


def _load_open_clip(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import zero_shot

    return zero_shot.load(spec, classes, device)


def _load_transformers(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import transformers_clip, zero_shot

    return zero_shot.classifier_of(transformers_clip.load_clip, spec, classes, device)


def _load_timm(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import supervised

    return supervised.load_timm(spec, classes, device)


def _load_torchvision(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import supervised

    return supervised.load_torchvision(spec, classes, device)


def _load_mini(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import embedded, supervised, zero_shot
    from clip_robustness.models.embedded import SIZE

    if spec.name == "clip":
        return zero_shot.load(embedded.inner(spec), classes, device)
    return supervised.load_timm(embedded.inner(spec), classes, device, input_size=(3, SIZE, SIZE), crop_pct=1.0)


def _load_python(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    """Call the user's own factory: `factory(spec, classes, device) -> Classifier`. This runs the user's code."""
    from clip_robustness.models.classifier import Classifier, fingerprint_of

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
    # whatever the factory calls it: other weights are another model
    classifier.fingerprint = fingerprint_of(classifier, classifier.fingerprint, spec.given)
    return classifier


_LOADERS = {
    "open_clip": _load_open_clip,
    "transformers": _load_transformers,
    "timm": _load_timm,
    "torchvision": _load_torchvision,
    "mini": _load_mini,
    "python": _load_python,
}
