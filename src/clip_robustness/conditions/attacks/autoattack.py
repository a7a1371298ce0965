"""AutoAttack, the standard version (Croce & Hein 2020): four attacks without parameters to tune, each on what the ones
before it left standing."""

from clip_robustness.conditions.attacks.apgd import APGD_CE, APGD_T
from clip_robustness.conditions.attacks.fab import FAB_T
from clip_robustness.conditions.attacks.loop import Methods
from clip_robustness.conditions.attacks.square import SQUARE
from clip_robustness.conditions.context import Context
from clip_robustness.registry import attack

STANDARD: Methods = (APGD_CE, APGD_T, FAB_T, SQUARE)


@attack(
    "autoattack", access="white-box", runner="in_loop", passes=(3300, 1250), pictured=False,
    stronger_than=("pgd", "apgd-ce", "apgd-t", "fab", "square", "bim"), source="Croce & Hein 2020",
)  # fmt: skip
def autoattack(_: Context) -> Methods:
    return STANDARD
