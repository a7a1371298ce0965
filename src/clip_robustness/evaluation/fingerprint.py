"""The version of the code and the libraries that an outcome depends on: each condition has its own, so that an edit to
one attack computes that attack anew and nothing else."""

from __future__ import annotations

import hashlib
from functools import cache

from clip_robustness import registry
from clip_robustness.conditions.catalogue import all_code
from clip_robustness.conditions.condition import Condition
from clip_robustness.models.code import Code, code_of
from clip_robustness.models.code_digest import digest

_ROOTS = ("clip_robustness.evaluation.evaluator.Evaluator", "clip_robustness.models.device.set_up_device")
"""What runs for all conditions; what a condition runs beside it, its kind says."""
_NO_FIGURES = (
    "clip_robustness.evaluation.deadline",
    "clip_robustness.evaluation.fingerprint",
    "clip_robustness.models.memory",
    "clip_robustness.evaluation.progress",
    "clip_robustness.evaluation.store",
    "clip_robustness.evaluation.machine",
    "clip_robustness.evaluation.file_stamps",
    "clip_robustness.conditions.benchmark",
    "clip_robustness.conditions.catalogue",
    "clip_robustness.conditions.condition",
    "clip_robustness.conditions.eps",
    "clip_robustness.conditions.kind",
)
"""What no outcome depends on; on conditions it depends by what they say of themselves. All other code that is referred
to counts."""


@cache
def code_version(condition: Condition | None = None) -> str:
    """Of what computes a condition's outcomes; without one, of all that computes any, or builds models."""
    if condition is None:
        loaders = [found.reference for found in registry.ours("model")]
        roots = [*_ROOTS, *all_code(), *loaders, "clip_robustness.models.registry.load"]
        return digest(roots, (), lambda: code_of(roots, follow=_counts))
    if condition.members:
        return hashlib.sha256(" ".join(map(code_version, condition.members)).encode()).hexdigest()[:16]
    told = sorted((name, repr(value)) for name, value in condition.kind.told.items())
    of_code = digest(_roots(condition), _chosen(condition), lambda: code(condition))
    return hashlib.sha256(f"{of_code} {told}".encode()).hexdigest()[:16]


def code(condition: Condition) -> Code:
    """What computes a condition's outcomes; of a plugin its module."""
    return code_of(_roots(condition), chosen=_chosen(condition), follow=_counts)


def _roots(condition: Condition) -> list[str]:
    return [*_ROOTS, *condition.code]


def _chosen(condition: Condition) -> list[str]:
    return [str(value) for _, value in condition.params]


def _counts(_: str, name: str) -> bool:
    return not any(f"{name}.".startswith(f"{other}.") for other in _NO_FIGURES)
