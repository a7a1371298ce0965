"""Looking at the images of a cell more than once, and stopping as soon as its verdict is settled.

Each look may raise the false alarms of its share of alpha alone (an alpha-spending function, Lan & DeMets 1983), so all
looks together raise no more than alpha, whatever the tests and however the looks depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from clip_robustness.metrics.evidence import Tail

_PARTS = (1 / 8, 1 / 4, 1 / 2, 1)
_FEWEST = 24
"""Images, of a first look: fewer settle nothing."""
_RHO = 2
"""alpha x part^2 is spent by a look at a part of the images (Kim & DeMets 1987): most is kept for the last one."""


def looks(n: int) -> tuple[int, ...]:
    """After how many of n images to look, rising; the last look is at all of them."""
    return tuple(size for part in _PARTS if (size := round(part * n)) >= _FEWEST or part == 1)


def shares(sizes: Sequence[int]) -> list[float]:
    """Of alpha, what each look may spend; together 1."""
    spent = [0.0, *((size / sizes[-1]) ** _RHO for size in sizes)]
    return [after - before for before, after in pairwise(spent)]


def over_looks(tails: Sequence[Tail], sizes: Sequence[int]) -> Tail:
    """The evidence of the looks so far, as p-values that hold alpha at whichever look one stops."""
    own = list(zip(tails, shares(sizes), strict=False))
    return Tail(min(1.0, *(t.p_violation / s for t, s in own)), min(1.0, *(t.p_compliance / s for t, s in own)))
