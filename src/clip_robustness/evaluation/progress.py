"""How far a cell is, in a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Progress:
    """Of `total` images `done` are known and `right` of these are right; `computed` of them in `seconds`."""

    model: str
    condition: str
    done: int
    total: int
    right: int
    computed: int
    seconds: float

    def __str__(self) -> str:
        """`bim-8/255 mini:clip 128/480, 41.2% [32.6, 50.3], 12.3 images/s, 29 s left`, with the exact interval."""
        from clip_robustness.metrics.intervals import accuracy  # takes scipy, which a collection does without

        speed = self.computed / max(self.seconds, 1e-9)
        found = accuracy(np.arange(self.done) < self.right)
        return (
            f"{self.condition} {self.model} {self.done}/{self.total}, {100 * found.value:.1f}% "
            f"[{100 * found.low:.1f}, {100 * found.high:.1f}], {speed:.3g} images/s, {_span(self.seconds_left)} left"
        )

    @property
    def seconds_left(self) -> float:
        return (self.total - self.done) * self.seconds / max(self.computed, 1)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
