"""Checks for tests of your own corruptions, attacks and conditions: that they keep what the suite builds on."""

from clip_robustness.conditions.attacks.promises import check_attack
from clip_robustness.conditions.corruptions.promises import check_corruption
from clip_robustness.conditions.registered import check_condition

__all__ = ["check_attack", "check_condition", "check_corruption"]
