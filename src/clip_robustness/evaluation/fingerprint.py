"""The version of the code and the libraries that an outcome depends on: each condition has its own, so that an edit to
one attack computes that attack anew and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache

from clip_robustness.conditions.condition import BY_SCORE, TYPOGRAPHIC, UNIVERSAL, Condition
from clip_robustness.conditions.registry import Registered
from clip_robustness.models.code import Code, code_of

_ROOTS = ("clip_robustness.evaluation.evaluator.Evaluator", "clip_robustness.models.device.set_up_device")
_DISPATCHERS = "clip_robustness.evaluation."
"""Modules of this package choose by condition what others are asked for."""
_NO_FIGURES = (
    "clip_robustness.evaluation.deadline",
    "clip_robustness.evaluation.fingerprint",
    "clip_robustness.evaluation.memory",
    "clip_robustness.evaluation.progress",
    "clip_robustness.evaluation.store",
    "clip_robustness.evaluation.file_stamps",
    "clip_robustness.conditions.condition.Condition",
    "clip_robustness.conditions.registry",
)
"""What no outcome depends on; on conditions it depends by what they say of themselves. All other code that is referred
to counts, unless it is a condition's own."""
_OWN: Mapping[str, Callable[[Condition], bool]] = {
    "clip_robustness.evaluation.attacking": lambda c: c.attacked,
    "clip_robustness.evaluation.attacking._METHODS": lambda c: (
        not (c.on_surrogate or c.caption or c.of_peer or c.registered or c.name in (TYPOGRAPHIC, UNIVERSAL))
    ),
    "clip_robustness.conditions.attacks.gradient.TOWARDS_FIRST": lambda c: bool(c.caption),
    "clip_robustness.conditions.attacks.torchattacks": lambda c: c.of_peer,
    "clip_robustness.conditions.attacks.promises": lambda c: c.registered is not None,
    "clip_robustness.conditions.attacks.score": lambda c: c.name in BY_SCORE,
    "clip_robustness.conditions.attacks.smallest_eps": lambda c: c.eps is None and c.computation == c.path,
    "clip_robustness.conditions.attacks.square": lambda c: c.name in ("square", "autoattack"),
    "clip_robustness.conditions.attacks.transfer": lambda c: bool(c.on_surrogate),
    "clip_robustness.conditions.attacks.typographic": lambda c: c.name == TYPOGRAPHIC,
    "clip_robustness.conditions.attacks.universal": lambda c: c.name == UNIVERSAL,
    "clip_robustness.metrics.flips": lambda c: c.is_sequence,
    "clip_robustness.conditions.corruptions.corrupt": lambda c: c.name == "imagenet-c",
    "clip_robustness.datasets.mp4": lambda c: c.name == "imagenet-p-disk",
    "clip_robustness.conditions.corruptions.promises": lambda c: c.registered is not None,
    "clip_robustness.conditions.perturbations": lambda c: c.name == "imagenet-p",
    "clip_robustness.conditions.stylized": lambda c: c.name == "stylized-local",
}
"""What dispatchers use for some conditions alone; other modules that refer to it always do. Code that is not named here
counts for all conditions."""


_NAMES = ("id", "label", "path", "compared")


@cache
def code_version(condition: Condition | None = None) -> str:
    """Of what computes a condition's outcomes; without one, of all that computes any, or builds models."""
    if condition is None:
        return code_of([*_ROOTS, "clip_robustness.models.registry.load"], follow=_counts).digest()
    properties = {name: getattr(condition, name) for name, of in vars(Condition).items() if isinstance(of, property)}
    names = _NAMES if condition.computation == condition.path else (*_NAMES, "eps")  # one computation, read at many eps
    told = {k: value for k, value in properties.items() if k not in names and not isinstance(value, Registered)}
    return hashlib.sha256(f"{code(condition).digest()} {told}".encode()).hexdigest()[:16]


def code(condition: Condition) -> Code:
    """What computes a condition's outcomes; of a plugin its module."""
    plugin = [condition.registered.function.__module__] if condition.registered else []
    chosen = [condition.name, condition.on_surrogate, *(str(value) for _, value in condition.params)]
    return code_of(
        [*_ROOTS, *plugin], chosen=chosen, follow=lambda by, name: _counts(by, name) and _used(condition, by, name)
    )


def _counts(by: str, name: str) -> bool:
    """Of how conditions are named and checked nothing."""
    return by != Condition.__module__ and not any(f"{name}.".startswith(f"{other}.") for other in _NO_FIGURES)


def _used(condition: Condition, by: str, name: str) -> bool:
    own = [used for other, used in _OWN.items() if f"{name}.".startswith(f"{other}.")]
    return not by.startswith(_DISPATCHERS) or all(used(condition) for used in own)
