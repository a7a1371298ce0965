"""What keeps an accuracy from being a measurement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """What is to be said of a model's accuracy under a condition: that it is none, that it is odd, or that there are
    too few images to tell; '' otherwise."""

    error: str = ""
    warning: str = ""
    few: str = ""
