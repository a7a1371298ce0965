"""That what others registered keeps what the suite builds on: each is tried on small images. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from clip_robustness.conditions.condition import Condition

if TYPE_CHECKING:
    from clip_robustness.models.classifier import Classifier


def to_check(conditions: Iterable[Condition]) -> list[Condition]:
    """Of the conditions that run functions of others one each."""
    return [*{found: c for c in conditions if (found := c.registered) and found.version}.values()]


def check(condition: Condition, model: Callable[[], Classifier]) -> None:
    """`model` is what attacks are tried on. Raises `InputError` with what is wrong."""
    from clip_robustness.conditions.attacks.promises import check_attack
    from clip_robustness.conditions.corruptions.promises import check_corruption
    from clip_robustness.conditions.registered import check_condition

    found = condition.registered
    assert found is not None
    if found.group == "corruption":
        check_corruption(found)
    elif found.group == "condition":
        check_condition(condition)
    elif "runner" not in found.options:
        check_attack(found, model(), condition.eps or 1.0)
