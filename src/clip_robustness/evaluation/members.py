"""What the members of a condition make together."""

from __future__ import annotations

from collections.abc import Callable

from clip_robustness.conditions.catalogue import WORST_OF
from clip_robustness.conditions.condition import Condition
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.seeds import of_seeds
from clip_robustness.metrics.worst import right_under_all


def combined(condition: Condition, outcomes: Callable[[Condition], Outcomes]) -> Outcomes:
    """Right under all members, or the outcomes of all seeds."""
    found = {member.label: outcomes(member) for member in condition.members}
    return right_under_all(found) if condition.name == WORST_OF else of_seeds([*found.values()])
