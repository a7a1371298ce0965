"""What so many images can show, and how many show so much, by the normal approximation."""

from __future__ import annotations

import math

from scipy.special import ndtri

POWER = 0.8
"""The probability with which something is to be seen."""


def detectable(n: float, deviation: float, alpha: float, power: float = POWER) -> float:
    """How far beyond a limit a figure has to be, for n images to show with probability `power` that it is. `deviation`
    is that of one image, `alpha` what the one-sided p-value is compared with."""
    return _standard_errors(alpha, power) * deviation / math.sqrt(n)


def needed(away: float, deviation: float, alpha: float, power: float = POWER) -> float:
    """How many images show with probability `power` that a figure is `away`, more than 0, beyond a limit."""
    return (_standard_errors(alpha, power) * deviation / away) ** 2


def _standard_errors(alpha: float, power: float) -> float:
    return float(ndtri(1 - alpha) + ndtri(power))
