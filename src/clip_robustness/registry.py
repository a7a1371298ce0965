"""What is found by name, ours, of installed packages, and of the plugin files of a suite, by one registration each.

Ours is found in the files of this package, and a package's behind its entry points, without importing them: a module is
imported when what it registers is first used. A plugin file runs when a suite that names it is read. Light to import.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from clip_robustness.declared import declared_in
from clip_robustness.errors import InputError, nearest

Group = Literal["condition", "corruption", "attack", "figure", "limit", "model", "dataset", "shift"]
Access = Literal["white-box", "black-box"]
Function = TypeVar("Function", bound=Callable[..., Any])

GROUPS: dict[Group, str] = {
    "condition": "clip_robustness.conditions",
    "corruption": "clip_robustness.corruptions",
    "attack": "clip_robustness.attacks",
    "figure": "clip_robustness.figures",
    "limit": "clip_robustness.limits",
    "model": "clip_robustness.models",
    "dataset": "clip_robustness.datasets",
    "shift": "clip_robustness.shifts",
}
"""Of the entry points of packages."""
_OURS: dict[Group, str] = {
    "condition": "clip_robustness.conditions.catalogue",
    "corruption": "clip_robustness.conditions.corruptions",
    "attack": "clip_robustness.conditions.attacks",
    "figure": "clip_robustness.verdicts.figures",
    "limit": "clip_robustness.verdicts.limits",
    "model": "clip_robustness.models.registry",
    "dataset": "clip_robustness.datasets.readers",
    "shift": "clip_robustness.datasets.shifts",
}
"""Where ours are: a package, or a module."""
_PREFIXES: Mapping[Group, str] = {"model": "preset", "dataset": "mini"}
"""Of specs and of places; and the prefix that stands for something else."""
_NAME = re.compile(r"[\w.+-]+:?", re.ASCII)


@dataclass(frozen=True)
class Registered:
    """What stands behind a name: `reference` is 'module.attribute', `options` what the registration says beside the
    name. `origin` is for messages; `version` changes with the code of others, ours is fingerprinted by what runs."""

    group: Group
    name: str
    reference: str
    options: Mapping[str, Any] = field(compare=False)
    origin: str
    version: str = ""
    loaded: Callable[..., Any] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.group} '{self.name}' of {self.origin}"

    @property
    def function(self) -> Callable[..., Any]:
        """Imports its module. Raises `InputError` where that fails."""
        if self.loaded is not None:
            return self.loaded
        module, _, attribute = self.reference.rpartition(".")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise InputError(
                f"{self.group} '{self.name}': {self.origin} does not import: {type(error).__name__}: {error}"
            ) from error
        return found


def unregistered(group: Group, function: Callable[..., Any], **options: Any) -> Registered:
    """For a function that is only tried."""
    module, name = str(function.__module__), getattr(function, "__name__", "?")
    return Registered(group, name, f"{module}.{name}", options, module, loaded=function)


_registered: dict[tuple[Group, str], Registered] = {}
"""Of plugin files."""
_files: set[Path] = set()


def corruption(name: str, *, source: str = "", textures: bool = False) -> Callable[[Function], Function]:
    """Register `function(image, severity, rng)` as a corruption of that name; `source` is the paper that defines it.
    With `textures` the function takes the published textures of frost, too, or None.

    It takes an image, uint8 RGB (height, width, 3), a severity from 1 to 5, and a numpy `Generator` of the image's own,
    and returns an image of the same type and shape. Raises `InputError` for a name that is taken or can't be part of a
    test id.
    """
    return lambda function: _register("corruption", name, function, {"source": source, "textures": textures})


def condition(
    name: str, *, family: str = "synthetic", params: Mapping[str, tuple[str | int, ...]] | None = None, **options: Any
) -> Callable[[Function], Function]:
    """Register `function(source)` as a kind of condition of that name: what makes the pixels of an image.

    It takes a `conditions.source.Source`: the sample, the condition with its parameters, the side that the model takes,
    `clean()`, the image as the model crops it, and the image's own generator; and returns uint8 RGB (side, side, 3).
    `params` are its parameters with all values that they may have, in the order of the id, as in `{"level": (1, 2)}`.
    `options` are fields of `kind.Kind`: `source`, the paper, `about`, `data` where it has images of its own, `drawing`
    and `passes`, what an image takes, `frames` where it returns so many (frames, side, side, 3), and `runner`, what
    makes predictions as `scoring.top_1` does, a function beside it or 'module.function'.

    Raises `InputError` for a name that is taken or can't be part of a test id.
    """
    return lambda function: _register(
        "condition", name, function, {"family": family, "params": params or {}, **options}
    )


def attack(name: str, *, access: Access, **options: Any) -> Callable[[Function], Function]:
    """Register an attack of that name: `function(model, images, labels, eps, rngs)`.

    It takes a classifier, images that it gets right, float (n, 3, side, side) in [0, 1], their labels int64 (n,), the
    radius of the L-infinity ball in the same unit, and a numpy `Generator` an image, and returns images of the same
    type and shape, in [0, 1] and in the ball. `access`: `white-box` where it takes gradients, `black-box` where it asks
    for logits alone; these get no gradients. `options` are fields of `kind.Kind`, such as `source`, the paper that
    defines it, and `passes`, what an image takes; with another `runner` the function is what that one runs.

    A name that ends in ':' stands for all names that begin so. Raises `InputError` for a name that is taken or can't be
    part of a test id.
    """
    return lambda function: _register("attack", name, function, {"access": access, **options})


def figure(name: str) -> Callable[[Function], Function]:
    """Register `function(condition, outcomes)` as a figure of that name: a `metrics.intervals.Estimate`, a value with
    its 95% interval, or None where a cell has none. `outcomes` has predictions and named measures of each image."""
    return lambda function: _register("figure", name, function, {})


def limit(
    name: str,
    *,
    low: float,
    high: float,
    about: str = "",
    only_for: str = "",
    not_for: tuple[str, ...] = ("averages",),
    unit: str = "",
) -> Callable[[Function], Function]:
    """Register `function(look, bound)` as a limit that rules may set to a value from `low` to `high`: it gives the
    `Evidence` of a `verdicts.limits.Look`, or a sentence that says why there is none, which fails. The name begins with
    'min_' or 'max_'; `about` is a line on it.

    `unit` "points": the figure is a share, which reports write in percentage points; else it is written as it is, with
    the unit behind it. `only_for` and `not_for` are what conditions say of themselves, such as 'is_sequence': to set it
    for others than `only_for` is an error; for `not_for` it says nothing.
    """
    options = {"low": low, "high": high, "about": about, "only_for": only_for, "not_for": not_for, "unit": unit}
    return lambda function: _register("limit", name, function, options)


def model(name: str, *, form: str = "NAME", about: str = "", zero_shot: bool = False) -> Callable[[Function], Function]:
    """Register `function(spec, classes, device)` for model specs that begin with `name:`.

    It takes a `models.spec.ModelSpec`, whose `name` is what follows, whose `file` is that of `@FILE` and whose `given`
    are the options, a `ClassList` and a `torch.device`, and returns a `models.classifier.Classifier` over these
    classes. `form` and `about` are for `clip-robustness ls`. `zero_shot`: whether it answers in the words of any
    classes. Raises `InputError` for a name that is taken or can't be part of a test id.
    """
    return lambda function: _register("model", name, function, {"form": form, "about": about, "zero_shot": zero_shot})


def dataset(
    name: str, *, form: str = "PLACE", about: str = "", columns: bool = False
) -> Callable[[Function], Function]:
    """Register `function(data, place, space, classes)` as the reader of places that begin with `name:`.

    It takes the name of the data set, what follows the prefix, the `ClassSpace` of the data set and the model's
    `ClassList`, and returns a `datasets.dataset.Dataset`, whose labels are places in the `space`, or
    `datasets.records.Records`, whose labels are what its source calls classes. With `columns` it takes a `column`, too:
    that of what belongs together. `form` and `about` are for `clip-robustness ls`. Raises `InputError` for a name that
    is taken or no prefix.
    """
    return lambda function: _register("dataset", name, function, {"form": form, "about": about, "columns": columns})


def shift(name: str, **options: Any) -> Callable[[Function], Function]:
    """Register `function(data, place, space, classes, part)` as what reads a published test set of that name.

    It takes that name, the place under `[data]` and what the other readers take, and gives what they give. `options`
    are those of `conditions.shifts`: which conditions it brings, its source, licence and counts. Raises `InputError`
    for a name that is taken or can't be part of a test id.
    """
    conditions = options.get("conditions", (name,))
    for option in ("compared_with", "family"):
        told = options.get(option)
        for of in told if isinstance(told, Mapping) else ():
            if of not in conditions:
                raise InputError(f"shift '{name}': {option} of '{of}': no such condition; {nearest(of, conditions)}")
    return lambda function: _register("shift", name, function, options)


def _register(group: Group, name: str, function: Function, options: Mapping[str, Any]) -> Function:
    reference = f"{function.__module__}.{function.__qualname__}"
    if group == "attack":
        function.access = options["access"]  # type: ignore[attr-defined]
    offered = [_ours(group)[name]] if name in _ours(group) else []
    offered += [_of_package(group, point) for point in _entry_points(group).get(name, ())]
    if any(known.reference == reference for known in offered):
        return function  # is found without it
    file = Path(inspect.getfile(inspect.unwrap(function)))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    found = Registered(group, name, reference, options, str(file), digest, function)
    if not _NAME.fullmatch(name) or "adversarial" in name.lower():
        raise InputError(
            f"{found}: the name is part of test ids; use letters, digits, '.', '+', '_' and '-', and not the word "
            "adversarial, which selects the attacks"
        )
    if group == "limit" and not name.startswith(("min_", "max_")):
        raise InputError(f"{found}: the name of a limit begins with min_ or max_")
    if group in _PREFIXES and (name == _PREFIXES[group] or ":" in name):
        raise InputError(f"{found}: the name is a prefix, without a colon and not '{_PREFIXES[group]}'; choose another")
    before = _ours(group).get(name) or _registered.get((group, name))
    if before and (before.origin, before.version) != (found.origin, found.version):
        raise InputError(f"{found}: the name is taken by {before.origin}; rename one")
    _registered[group, name] = found
    return function


def load_file(file: Path) -> None:
    """Run a plugin file, once in a process; it can import what lies beside it. Raises `InputError` naming it."""
    file = file.resolve()
    if file in _files:
        return
    name = f"clip_robustness_plugin_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise InputError(f"plugin {file}: there is no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"plugin {file} does not import: {type(error).__name__}: {error}") from error
    _files.add(file)


def forget(*, files: bool = True) -> None:
    """Packages, and plugin files, for tests."""
    if files:
        _registered.clear()
        _files.clear()
    _entry_points.cache_clear()
    _of_package.cache_clear()


@cache
def _ours(group: Group) -> dict[str, Registered]:
    package = _OURS[group]
    place = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = {}
    for file in [place.with_suffix(".py")] if not place.is_dir() else sorted(place.rglob("*.py")):
        module = ".".join([package, *(file.relative_to(place).with_suffix("").parts if place.is_dir() else ())])
        for attribute, name, options in declared_in(file, group):
            found[name] = Registered(group, name, f"{module}.{attribute}", options, "the suite itself")
    return found


@cache
def _entry_points(group: Group) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUPS[group]):
        found.setdefault(point.name, []).append(point)
    return found


@cache
def _of_package(group: Group, point: EntryPoint) -> Registered:
    """What a package offers. Its source is read where it lies beside others; else its options are not known."""
    origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    file = _source(point.module)
    declared = {attribute: options for attribute, _, options in declared_in(file, group)} if file else {}
    version = f"{origin} {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}" if file else origin
    reference = f"{point.module}.{point.attr}"
    return Registered(group, point.name, reference, declared.get(point.attr, {}), origin, version)


def _source(module: str) -> Path | None:
    """The file of a module, which is not imported for it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for folder in spec.submodule_search_locations or () if spec and rest else ():
        for file in (Path(folder, *rest).with_suffix(".py"), Path(folder, *rest, "__init__.py")):
            if file.is_file():
                return file
    return Path(spec.origin) if spec and not rest and spec.origin and spec.origin.endswith(".py") else None


def names(group: Group) -> list[str]:
    """Of ours, of what is registered, and of what installed packages offer, which is not imported for it."""
    of_files = [name for registered, name in _registered if registered == group]
    return sorted({*_ours(group), *of_files, *_entry_points(group)})


def ours(group: Group) -> list[Registered]:
    """What this package registers."""
    return [*_ours(group).values()]


def knows(group: Group, name: str) -> bool:
    """Whether anybody registered a name. Raises `InputError` where two did."""
    return _lookup(group, name) is not None


def find(group: Group, name: str) -> Registered:
    """Raises `InputError` for a name that nobody registered, with the nearest of all, and for one that two did."""
    found = _lookup(group, name)
    if found is None:
        raise InputError(f"{group} '{name}' is unknown; {nearest(name, names(group))}")
    return found


def _lookup(group: Group, name: str) -> Registered | None:
    """By the name itself, or by what stands before its colon."""
    key = name if ":" not in name else f"{name.partition(':')[0]}:"
    found = [_of_package(group, point) for point in _entry_points(group).get(key, ())]
    found += [known for known in (_registered.get((group, key)), _ours(group).get(key)) if known]
    if len(found) > 1:
        origins = " and by ".join(known.origin for known in found)
        raise InputError(f"{group} '{key}' is registered by {origins}; rename or remove one")
    return found[0] if found else None
