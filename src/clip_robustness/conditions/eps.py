"""The radius of an attack as it is written: '8/255', '0.5/255', '0.03'. Light to import."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from clip_robustness.errors import InputError


def parse_eps(text: str) -> Fraction:
    """'8/255', '0.5/255' or '0.03' -> its exact value in pixel units, images in [0, 1].

    Raises `InputError` outside (0, 1].
    """
    numerator, _, denominator = text.partition("/")
    try:
        eps = Fraction(numerator) / Fraction(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"eps '{text}' is not a number; write it as '8/255'") from None
    if not 0 < eps <= 1:
        meant = "" if denominator else f"; did you mean '{text}/255'?"
        raise InputError(f"eps '{text}' is outside (0, 1]: images are in [0, 1]{meant}")
    return eps


def spelling(text: str) -> str:
    """How an eps is written in ids: '1/510' and '0.50/255' as '0.5/255'.

    Only fractions over a multiple of 255, and those with decimals in them, are written anew: '8/256' and '0.03' stay.
    """
    eps = parse_eps(text)
    _, bar, denominator = text.partition("/")
    levels = 255 * eps
    decimal = Decimal(levels.numerator) / levels.denominator
    if bar and Fraction(denominator) % 255 == 0 and Fraction(decimal) == levels:
        return f"{decimal:f}/255"
    return str(eps) if bar and not re.fullmatch(r"\d+/\d+", text) else text
