"""Checks for tests of your own corruptions and attacks: that they keep what the suite builds on."""

from clip_robustness.conditions.attacks.promises import check_attack
from clip_robustness.conditions.corruptions.promises import check_corruption

__all__ = ["check_attack", "check_corruption"]
