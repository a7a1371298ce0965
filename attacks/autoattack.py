"""AutoAttack, the standard version (Croce & Hein 2020): four attacks without parameters to tune, each on what the ones
before it left standing."""

from attacks.apgd import APGD_CE, APGD_T
from attacks.fab import FAB_T
from attacks.loop import Method
from attacks.square import SQUARE

STANDARD: tuple[Method, ...] = (APGD_CE, APGD_T, FAB_T, SQUARE)
