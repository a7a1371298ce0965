"""AutoAttack, the standard version (Croce & Hein 2020): four attacks without parameters to tune, each on what the ones
before it left standing."""

from clip_robustness.conditions.attacks.apgd import APGD_CE, APGD_T
from clip_robustness.conditions.attacks.fab import FAB_T
from clip_robustness.conditions.attacks.loop import Method
from clip_robustness.conditions.attacks.square import SQUARE

STANDARD: tuple[Method, ...] = (APGD_CE, APGD_T, FAB_T, SQUARE)
