"""Outcomes that are shared within clusters, drawn so that the truth is known, and how often tests and intervals err.

`make statistics` runs the whole grid, some minutes, writes it into docs/statistics.md and fails where a rate is too
high; the tests run a part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from clip_robustness.metrics import evidence, intervals
from clip_robustness.metrics.clusters import FEWEST, Clusters
from tests import ROOT

SIZES, CORRELATIONS, IMAGES, ACCURACIES = ("1", "4", "10", "mixed"), (0.0, 0.3, 1.0), (50, 500, 5000), (0.02, 0.5, 0.98)
ALPHA = 0.025
SPREAD = 3
"""Standard errors that a simulated rate may lie beyond what is promised."""


@dataclass(frozen=True)
class Setting:
    size: str
    correlation: float
    n: int
    accuracy: float

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The cluster of each image, (n,); 'mixed' are of 1, 4 and 10 images, of few images of 1, 1 and 3."""
        cycle = [int(self.size)] if self.size != "mixed" else [1, 4, 10] if self.n > 150 else [1, 1, 3]
        return np.repeat(np.arange(self.n), np.resize(cycle, self.n))[: self.n]

    @property
    def clusters(self) -> Clusters | None:
        return Clusters.of([(str(number),) for number in self.numbers])

    @property
    def drop(self) -> float:
        """That of a candidate that is worse by just what is allowed."""
        return 0.05 if self.accuracy > 0.05 else 0.005

    def outcomes(self, rng: np.random.Generator, shares: list[float]) -> NDArray[np.int64]:
        """A category for each image (n,): categories have these shares, and the clusters the intra-cluster correlation,
        by the Dirichlet-multinomial distribution."""
        _, firsts, places = np.unique(self.numbers, return_index=True, return_inverse=True)
        if self.correlation == 1:
            return rng.choice(len(shares), len(firsts), p=shares)[places]
        if self.correlation == 0:
            return rng.choice(len(shares), self.n, p=shares)
        weight = (1 - self.correlation) / self.correlation
        own = rng.dirichlet(weight * np.array(shares) + 1e-9, len(firsts))
        return (rng.random(self.n)[:, None] > own.cumsum(1)[places][:, :-1]).sum(1)

    def pair(self, rng: np.random.Generator, drop: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """A candidate that is worse by `drop` than a baseline, mostly right together."""
        p, q = self.accuracy - drop, self.accuracy
        both = max(p + q - 1, 0.9 * min(p, q))
        found = self.outcomes(rng, [both, p - both, q - both, 1 - p - q + both])
        return (found == 0) | (found == 1), (found == 0) | (found == 2)


@dataclass(frozen=True)
class Rates:
    """Of an accuracy, and of a paired difference at 0 and at a drop that is just allowed: false fails, false passes,
    and how often the interval has the truth."""

    setting: Setting
    times: int
    accuracy: tuple[float, float, float]
    at_zero: tuple[float, float, float]
    at_drop: tuple[float, float, float]

    @property
    def worst_error(self) -> float:
        return max(*self.accuracy[:2], *self.at_zero[:2], *self.at_drop[:2])

    @property
    def least_coverage(self) -> float:
        return min(self.accuracy[2], self.at_zero[2], self.at_drop[2])

    @property
    def kept(self) -> bool:
        """Whether they are what is promised, as far as so many simulations can tell."""
        noise = SPREAD * np.sqrt(ALPHA * (1 - ALPHA) / self.times), SPREAD * np.sqrt(0.06 * 0.94 / self.times)
        return bool(self.worst_error <= ALPHA + noise[0] and self.least_coverage >= 0.94 - noise[1])


def grid() -> Iterator[Setting]:
    """All settings with enough clusters for a verdict; correlation does not matter in clusters of one image."""
    for size, correlation, n, accuracy in product(SIZES, CORRELATIONS, IMAGES, ACCURACIES):
        setting = Setting(size, correlation, n, accuracy)
        if setting.numbers[-1] + 1 >= FEWEST and (size != "1" or correlation == 0):
            yield setting


def rates(setting: Setting, times: int, *, aware: bool = True) -> Rates:
    """Not `aware`: with tests and intervals for independent images."""
    rng, clusters, p, drop = (
        np.random.default_rng(0),
        setting.clusters if aware else None,
        setting.accuracy,
        setting.drop,
    )
    found = np.zeros((3, times, 3))
    for i in range(times):
        right = setting.outcomes(rng, [p, 1 - p]) == 0
        equal, worse = setting.pair(rng, 0.0), setting.pair(rng, drop)
        for row, tail, estimate, true in (
            (0, evidence.share(right, p, clusters), intervals.accuracy(right, clusters), p),
            (1, evidence.paired(*equal, 0.0, clusters), intervals.paired_difference(*equal, clusters), 0.0),
            (2, evidence.paired(*worse, -drop, clusters), intervals.paired_difference(*worse, clusters), -drop),
        ):
            inside = estimate.low <= true <= estimate.high
            found[row, i] = tail.p_violation <= ALPHA, tail.p_compliance <= ALPHA, inside
    return Rates(setting, times, *(tuple(row) for row in found.mean(1).tolist()))


HEADINGS = (
    "clusters of",
    "correlation",
    "images",
    "accuracy",
    "an accuracy",
    "a difference of 0",
    "a drop at its limit",
)
_PAGE = ROOT / "docs" / "statistics.md"
_MARKS = "<!-- simulated: make statistics -->\n", "<!-- end -->\n"


def line(rates: Rates) -> str:
    """Of the table: false fails, false passes and coverage, in percent."""
    s, kinds = rates.setting, (rates.accuracy, rates.at_zero, rates.at_drop)
    shown = [" / ".join(f"{100 * share:.1f}" for share in kind) for kind in kinds]
    return f"| {' | '.join([s.size, str(s.correlation), str(s.n), str(s.accuracy), *shown])} |"


def main(times: int = 300) -> int:
    """Simulates the whole grid into the page."""
    lines, kept = [f"| {' | '.join(HEADINGS)} |", "| --- " * len(HEADINGS) + "|"], True
    for setting in grid():
        found = rates(setting, times)
        lines.append(line(found))
        kept &= found.kept
        print(lines[-1], "" if found.kept else "TOO HIGH", flush=True)
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_MARKS[0])
    after = rest.partition(_MARKS[1])[2]
    _PAGE.write_text(before + _MARKS[0] + "\n".join([*lines, ""]) + _MARKS[1] + after, encoding="utf-8")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
