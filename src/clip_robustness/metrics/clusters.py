"""Images that belong together: frames of a video, cue conflicts of one texture, views of one object.

Outcomes that are shared within clusters tell less than as many independent ones. How much less is the design effect of
a figure (Kish 1965): its variance with clusters (Liang & Zeger 1986; for several ways of belonging together Cameron,
Gelbach & Miller 2011) over its variance without. Counts are divided by it (Rao & Scott 1992), and tests and intervals
go on with the effective counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

FEWEST = 30
"""Clusters that a verdict needs: of fewer no variance between them is known well enough."""
_EVEN = 10
"""As many clusters as weigh most have to weigh alike: a few large ones are all that a figure stands on otherwise."""
_PRIOR = 10
"""Clusters with an event that the bound on a design effect weighs as much as: what a few show of it is mostly chance.
By the simulations of `tests/metrics/test_clusters.py`."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which of n samples belong together, in each of several ways: `ways`, int64 (ways, n), numbers clusters from 0."""

    ways: NDArray[np.int64]

    @staticmethod
    def of(names: Sequence[Sequence[str]]) -> Clusters | None:
        """From the names of each sample's clusters, one a way; None where no two samples belong together."""
        return _numbered(np.array([np.unique(way, return_inverse=True)[1] for way in zip(*names, strict=True)]))

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Clusters | None:
        """Those of some of the samples."""
        return _numbered(self.ways[:, chosen])

    @cached_property
    def count(self) -> int:
        """How many clusters; the smaller number of several ways."""
        return min(len(sizes) for sizes in self._sizes)

    @cached_property
    def untrusted(self) -> str:
        """Why no verdict can stand on them; '' where one can."""
        if self.count < FEWEST:
            return f"the images are of {self.count} clusters, fewer than the {FEWEST} that a verdict needs"
        if min(float(np.square(sizes).sum() ** 2 / (sizes**4).sum()) for sizes in self._sizes) < _EVEN:
            return f"the images are of {self.count} clusters, but a few of these have most of them"
        return ""

    @cached_property
    def most(self) -> float:
        """The design effect of outcomes that are the same within clusters."""
        return self._over_ways([float(np.square(np.bincount(numbers)).sum()) for _, numbers in self._parts]) / self._n

    @cached_property
    def df(self) -> float:
        """Degrees of freedom of a variance between them: n^2 / sum(size^2) - 1, which for clusters of one size is their
        number - 1 (Carter, Schnepel & Steigerwald 2017)."""
        return max(1.0, min(self._n**2 / float(np.square(sizes).sum()) for sizes in self._sizes) - 1)

    def variance(self, scores: NDArray[np.float64]) -> float:
        """Of the mean of scores (n,), cluster-robust."""
        rest = scores - scores.mean()
        squares = []
        for _, numbers in self._parts:
            sums = np.bincount(numbers, rest)
            squares.append(len(sums) / max(1, len(sums) - 1) * float(np.square(sums).sum()))
        return self._over_ways(squares) / self._n**2

    def with_event(self, scores: NDArray[np.float64]) -> int:
        """How many clusters have another score than the most frequent one."""
        values, places = np.unique(scores, return_inverse=True)
        rare = places != np.bincount(places).argmax() if len(values) else np.zeros(0, bool)
        return min(len(np.unique(way[rare])) for way in self.ways)

    def and_another(self, size: int) -> Clusters:
        """With so many more samples, which belong together, and to none of the others."""
        other = np.repeat(self.ways.max(1, keepdims=True) + 1, size, axis=1)
        return Clusters(np.concatenate([self.ways, other], axis=1))

    @property
    def _n(self) -> int:
        return self.ways.shape[1]

    @cached_property
    def _sizes(self) -> list[NDArray[np.float64]]:
        return [np.bincount(way).astype(float) for way in self.ways]

    @cached_property
    def _parts(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Sign and clusters: those of each way, and, as they are in both, those of the intersections."""
        return list(self._intersections())

    def _intersections(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        for size in range(1, len(self.ways) + 1):
            for some in combinations(self.ways, size):
                numbers = some[0]
                for other in some[1:]:
                    numbers = np.unique(numbers * (other.max() + 1) + other, return_inverse=True)[1]
                yield (-1) ** (size + 1), numbers

    def _over_ways(self, squares: Sequence[float]) -> float:
        """The sum of the ways without what is counted twice, which is never less than that of one way."""
        total = sum(sign * square for (sign, _), square in zip(self._parts, squares, strict=True))
        return max(total, *squares[: len(self.ways)])


@dataclass(frozen=True)
class Effect:
    """What clusters do to a figure: counts are divided by `deff`, and what is read on the normal distribution is read
    on Student's with `df` degrees of freedom."""

    deff: float = 1.0
    df: float = math.inf

    def count(self, count: float) -> float:
        """Of images, as many independent ones."""
        return count / self.deff

    def p_value(self, p: float) -> float:
        """From one that takes the design effect for known."""
        return p if math.isinf(self.df) else float(stdtr(self.df, ndtri(p)))

    def quantile(self, p: float) -> float:
        """Of the standard normal distribution, or of Student's."""
        return float(ndtri(p) if math.isinf(self.df) else stdtrit(self.df, p))

    def draws(self, right: int, n: int, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        """Shares (size,) that `right` of n images are compatible with, from Jeffreys' posterior: a resampled 0 or 100%
        would always be the same, as if it were certain."""
        wider = 1.0 if math.isinf(self.df) else (self.quantile(0.975) / Effect().quantile(0.975)) ** 2
        of = replace(self, deff=self.deff * wider)
        return rng.beta(of.count(right) + 0.5, of.count(n - right) + 0.5, size)

    def tail(self, p: float) -> float:
        """What an interval that takes the design effect for known has to leave out for `p`."""
        return p if math.isinf(self.df) else float(ndtr(self.quantile(p)))


def effect(scores: ArrayLike, clusters: Clusters | None) -> Effect:
    """The design effect of the mean of scores (n,): at least 1, which it is where nothing belongs together.

    It is weighed with that of full correlation, which weighs as much as ten clusters with an event.
    """
    if clusters is None:
        return Effect()
    values = np.asarray(scores, float)
    alone = values.var() / (len(values) - 1)
    found = max(1.0, clusters.variance(values) / alone if alone > 0 else clusters.most)
    events = clusters.with_event(values)
    weighed = (events * found + _PRIOR * clusters.most) / (events + _PRIOR)
    return Effect(max(found, weighed), clusters.df)


def _numbered(ways: NDArray[np.int64]) -> Clusters | None:
    numbers = [np.unique(way, return_inverse=True)[1] for way in ways]
    together = [way for way in numbers if len(way) and way.max() + 1 < len(way)]
    return Clusters(np.array(together)) if together else None
