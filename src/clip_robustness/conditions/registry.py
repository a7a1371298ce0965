"""Corruptions and attacks that are not ours: of the plugin files of a suite, and of installed packages.

A plugin file runs when a suite that names it is read; a package's module is imported when one of its conditions is
first computed. Light to import.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from clip_robustness.errors import InputError

Kind = Literal["corruption", "attack"]
Access = Literal["white-box", "black-box"]
Function = TypeVar("Function", bound=Callable[..., Any])

GROUPS: dict[Kind, str] = {"corruption": "clip_robustness.corruptions", "attack": "clip_robustness.attacks"}
"""Of the entry points of packages."""
_NAME = re.compile(r"[\w.+-]+", re.ASCII)


@dataclass(frozen=True)
class Registered:
    """A function of somebody else's: where it comes from, for messages, and what changes with its code."""

    kind: Kind
    name: str
    function: Callable[..., Any]
    origin: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' of {self.origin}"


def unregistered(kind: Kind, function: Callable[..., Any]) -> Registered:
    """For a function that is only tried."""
    return Registered(kind, getattr(function, "__name__", "?"), function, str(function.__module__), "")


_registered: dict[tuple[Kind, str], Registered] = {}
_ours: dict[Kind, frozenset[str]] = {"corruption": frozenset(), "attack": frozenset()}
_files: set[Path] = set()


def corruption(name: str) -> Callable[[Function], Function]:
    """Register `function(image, severity, rng)` as a corruption of that name.

    It takes an image, uint8 RGB (height, width, 3), a severity from 1 to 5, and a numpy `Generator` of the image's own,
    and returns an image of the same type and shape. Raises `InputError` for a name that is taken or can't be part of a
    test id.
    """
    return lambda function: _register("corruption", name, function)


def attack(name: str, *, access: Access) -> Callable[[Function], Function]:
    """Register `function(model, images, labels, eps, rngs)` as an attack of that name.

    It takes a classifier, images that it gets right, float (n, 3, side, side) in [0, 1], their labels int64 (n,), the
    radius of the L-infinity ball in the same unit, and a numpy `Generator` an image, and returns images of the same
    type and shape, in [0, 1] and in the ball. `access`: `white-box` where it takes gradients, `black-box` where it asks
    for logits alone; these get no gradients. Raises `InputError` for a name that is taken or can't be part of a test
    id.
    """

    def register(function: Function) -> Function:
        function.access = access  # type: ignore[attr-defined]
        return _register("attack", name, function)

    return register


def reserve(kind: Kind, names: Iterable[str]) -> None:
    """Names that are ours."""
    _ours[kind] = frozenset(names)


def _register(kind: Kind, name: str, function: Function, origin: str = "") -> Function:
    file = Path(inspect.getfile(inspect.unwrap(function)))
    found = Registered(kind, name, function, origin or str(file), f"{origin} {_digest(file)}")
    if not _NAME.fullmatch(name) or "adversarial" in name.lower():
        raise InputError(
            f"{found}: the name is part of test ids; use letters, digits, '.', '+', '_' and '-', and not the word "
            "adversarial, which selects the attacks"
        )
    before = _registered.get((kind, name))
    if name in _ours[kind] or (before and before.version != found.version):
        raise InputError(f"{found}: the name is taken by {before.origin if before else 'the suite itself'}; rename one")
    _registered[kind, name] = found
    return function


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


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


@cache
def _entry_points(kind: Kind) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUPS[kind]):
        found.setdefault(point.name, []).append(point)
    return found


def names(kind: Kind) -> list[str]:
    """Of what is registered, and of what installed packages offer, which is not imported for it."""
    own = [name for registered, name in _registered if registered == kind]
    return sorted({*own, *_entry_points(kind)})


def knows(kind: Kind, name: str) -> bool:
    """Whether a name is somebody else's. Raises `InputError` where a package offers one that is taken."""
    points = _entry_points(kind).get(name, [])
    known = _registered.get((kind, name))
    origins = [_origin(point) for point in points]
    if known and known.origin not in origins:
        origins.append(known.origin)
    if points and name in _ours[kind]:
        origins.append("the suite itself")
    if len(origins) > 1:
        raise InputError(f"{kind} '{name}' is registered by {' and by '.join(origins)}; rename or remove one")
    return bool(origins)


def find(kind: Kind, name: str) -> Registered:
    """Raises `InputError` for a name that nobody registered, and where a package does not import."""
    if not knows(kind, name):
        raise InputError(f"{kind} '{name}' is not registered; name its file under plugins, or install its package")
    if (kind, name) not in _registered:
        (point,) = _entry_points(kind)[name]
        try:
            function = point.load()
        except Exception as error:
            raise InputError(
                f"{kind} '{name}': {_origin(point)} does not import: {type(error).__name__}: {error}"
            ) from error
        _registered.pop((kind, name), None)  # by its own decorator, which does not know the package
        _register(kind, name, function, _origin(point))
    return _registered[kind, name]


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
