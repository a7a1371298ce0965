"""From a spec to a classifier, by its kind."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from clip_robustness import registry
from clip_robustness.errors import InputError
from clip_robustness.models.spec import ModelSpec, parse
from clip_robustness.registry import model

if TYPE_CHECKING:
    import torch

    from clip_robustness.datasets.classes import ClassList
    from clip_robustness.models.classifier import Classifier
    from clip_robustness.models.code import Code

_IMPORTABLE = "write python:MODULE:FACTORY for an importable function"


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
    found = registry.find("model", spec.kind)
    if found.version:  # of others
        classifier = _made(lambda: found.function, spec, classes, device, f"it is made by {found.origin}")
    else:
        classifier = found.function(spec, classes, device)
    classifier.code = code_version(builder_of(spec))
    probe(classifier)
    speed.tune(classifier, spec.options)
    return classifier


def builder_of(spec: ModelSpec) -> str:
    """Of one of our kinds its name; for what others wrote `python:MODULE`."""
    found = registry.find("model", spec.kind)
    if found.version:
        return f"python:{found.reference.rpartition('.')[0]}"
    return f"python:{spec.name.partition(':')[0]}" if spec.kind == "python" else spec.kind


def code_version(builder: str) -> str:
    """Of what builds models, as `builder_of` names it."""
    from clip_robustness.models.code_digest import digest

    return f"{digest(_roots(builder), (), lambda: code_behind(builder))}@{builder}" if builder else ""


def has_code(builder: str) -> bool:
    """Whether what builds models is there: a kind that is registered, a module that can be found."""
    kind, _, module = builder.partition(":")
    if not module:
        return not kind or registry.knows("model", kind)
    top = module.partition(".")[0]
    return top in sys.modules or importlib.util.find_spec(top) is not None


def code_behind(builder: str) -> Code:
    """As `code_version` has it."""
    from clip_robustness.models.code import code_of

    return code_of(_roots(builder))


def _roots(builder: str) -> list[str]:
    kind, _, module = builder.partition(":")
    # a factory may load models of any kind
    ours = registry.ours("model") if module else [registry.find("model", kind)]
    return [f"{__name__}.load", *(found.reference for found in ours), *([module] if module else [])]


@model(
    "open_clip",
    form="ARCH/TAG",
    about="a CLIP of open_clip; also ARCH@FILE, hf-hub:ORG/NAME, local-dir:DIR",
    zero_shot=True,
)
def load_open_clip(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import zero_shot

    return zero_shot.load(spec, classes, device)


@model(
    "transformers",
    form="ORG/NAME",
    about="a CLIP or SigLIP of transformers; also DIR",
    zero_shot=True,
)
def load_transformers(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import transformers_clip, zero_shot

    return zero_shot.classifier_of(transformers_clip.load_clip, spec, classes, device)


@model(
    "timm",
    form="NAME",
    about="a supervised model of timm; also NAME@FILE",
)
def load_timm(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import supervised

    return supervised.load_timm(spec, classes, device)


@model(
    "torchvision",
    form="NAME",
    about="a supervised model of torchvision; also NAME/TAG, NAME@FILE",
)
def load_torchvision(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import supervised

    return supervised.load_torchvision(spec, classes, device)


@model(
    "mini",
    form="clip",
    about="the embedded CLIP of the drawn world; also mini:supervised",
)
def load_mini(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    from clip_robustness.models import embedded, supervised, zero_shot
    from clip_robustness.models.embedded import SIZE

    if spec.name == "clip":
        return zero_shot.load(embedded.inner(spec), classes, device)
    return supervised.load_timm(embedded.inner(spec), classes, device, input_size=(3, SIZE, SIZE), crop_pct=1.0)


@model("python", form="MODULE:FACTORY", about="what a function of yours returns")
def load_python(spec: ModelSpec, classes: ClassList, device: torch.device) -> Classifier:
    module, _, factory = spec.name.partition(":")
    return _made(lambda: getattr(_imported(spec, module), factory), spec, classes, device, _IMPORTABLE)


def _imported(spec: ModelSpec, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):  # else it is there, and what it imports is not
            places = ", ".join(dict.fromkeys(str(Path(place or ".").absolute()) for place in sys.path))
            said = f"there is no module {error.name} in {places}"
            raise InputError(f"model spec '{spec}': {said}; {_IMPORTABLE}") from error
        raise


def _made(
    factory: Callable[[], Callable[..., Any]], spec: ModelSpec, classes: ClassList, device: torch.device, hint: str
) -> Classifier:
    """Call what others wrote: `factory()(spec, classes, device) -> Classifier`. This runs the user's code."""
    from clip_robustness.models.classifier import Classifier, fingerprint_of, weights_of

    try:
        classifier = factory()(spec, classes, device)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model spec '{spec}': {type(error).__name__}: {error}; {hint}") from error
    if not isinstance(classifier, Classifier):
        raise InputError(f"model spec '{spec}': the factory must return a Classifier, not {type(classifier).__name__}")
    # whatever the factory calls it: other weights are another model
    classifier.fingerprint = fingerprint_of(classifier, classifier.fingerprint, spec.given)
    classifier.weights = classifier.weights or weights_of(classifier.net)
    return classifier
