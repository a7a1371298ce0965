"""Conditions of kinds that others registered whole. Light to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from clip_robustness import registry
from clip_robustness.conditions.catalogue import is_ours
from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.kind import Kind
from clip_robustness.errors import InputError, nearest


def of_kind(
    name: str, given: Mapping[str, Sequence[str | int]] | None = None, samples: int | None = None
) -> Iterator[Condition]:
    """Of a kind that others registered, at the given values of its parameters; of those that are not given at all.

    Raises `InputError` for a name that nobody registered, or that ours has, and for what the kind does not have.
    """
    found = registry.find("condition", name)
    if is_ours(name) or registry.knows("attack", name):
        raise InputError(f"{found}: the name is taken by the suite itself; rename it")
    kind, given = Kind.of_condition(found), given or {}
    levels = dict(kind.levels)
    for key, values in given.items():
        if key not in levels:
            raise InputError(f"condition '{name}' has no parameter '{key}'; {nearest(key, levels)}")
        if wrong := [value for value in values if value not in levels[key]]:
            known = ", ".join(map(str, levels[key]))
            raise InputError(f"condition '{name}' has no {key} {wrong[0]}; it has {known}")
    for chosen in product(*(given.get(key, every) for key, every in levels.items())):
        yield Condition(kind.family, name, tuple(zip(levels, chosen, strict=True)), samples)
