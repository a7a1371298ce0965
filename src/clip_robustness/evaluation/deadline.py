"""How long a run may take, and which part of it this one is."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from clip_robustness.errors import InputError, NotRunError

_UNITS = (3600, 60, 1)


@dataclass(frozen=True)
class Deadline:
    """`at`, on the monotonic clock, which no change of the system's time moves and all processes of a machine share."""

    at: float
    limit: str

    @classmethod
    def after(cls, limit: str) -> Deadline:
        return cls(time.monotonic() + parse_time(limit), limit)

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at

    def check(self, done: int, images: int) -> None:
        """Raises `NotRunError` once the time is up; `done` of `images` are stored."""
        if self.passed:
            raise NotRunError(
                f"the --time-limit of {self.limit} was reached with {done} of {images} images stored; "
                "the same command goes on there"
            )


def parse_time(text: str) -> float:
    """'90', '90s', '30m', '2h' or '1h30m' -> seconds. Raises `InputError`."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
    parts = [int(part or 0) for part in found.groups()] if found else []
    seconds = sum(part * unit for part, unit in zip(parts, _UNITS, strict=True)) if parts else 0
    if not seconds:
        raise InputError(f"--time-limit {text}: write it as 90 or 90s, 30m, 2h or 1h30m")
    return float(seconds)


def parse_shard(text: str) -> tuple[int, int]:
    """'3/8' -> (3, 8). Raises `InputError`."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise InputError(f"--shard {text}: write it as 3/8, the third of eight")
    return index, count
