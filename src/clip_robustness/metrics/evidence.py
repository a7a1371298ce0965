"""How surprising the images would be if a limit were kept, or broken: one-sided p-values for the gate.

`p_violation` is the probability of evidence as strong if the true figure were just at the bound, which is the worst
case of a kept limit; `p_compliance` is the same for a broken one. Those of shares and of their differences are exact,
not asymptotic: a gate's errors lie in the tails, where normal approximations are at their worst. With `clusters` of
images that belong together the exact tests are those of effective counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri, stdtr

from clip_robustness.metrics.binomial import at_most, exactly, more_than
from clip_robustness.metrics.clusters import Clusters, Effect, effect
from clip_robustness.metrics.intervals import Correct, Estimate
from clip_robustness.metrics.power import POWER, needed
from clip_robustness.metrics.trend import Trend, redrawn_robustness

_LEFT_OUT = 1e-5
"""Of the probability, what a nuisance parameter may lie outside its interval with (Berger & Boos 1994); it is added to
the p-value."""
_UNLIKELY = 1e-9
_NOTHING = 1e-13
"""Of a single count, of which there are some thousands: together less than is added to the p-value by far."""
CORRECTIONS = {
    "holm": "Holm's correction",
    "benjamini-hochberg": "the correction of Benjamini and Hochberg",
    "benjamini-yekutieli": "the correction of Benjamini and Yekutieli",
}
"""For many limits: what it is called in messages."""
_GRID = 48


@dataclass(frozen=True)
class Tail:
    p_violation: float
    p_compliance: float

    def mirrored(self) -> Tail:
        return Tail(self.p_compliance, self.p_violation)


def share(correct: Correct, bound: float, clusters: Clusters | None = None) -> Tail:
    """Of an accuracy that is to be at least `bound`: the exact binomial test."""
    of = effect(correct, clusters)
    n, right = of.count(len(correct)), of.count(int(correct.sum()))
    tail = Tail(of.p_value(float(at_most(right, n, bound))), of.p_value(float(more_than(right - 1, n, bound))))
    return _trusted(tail, clusters)


def paired(first: Correct, second: Correct, bound: float, clusters: Clusters | None = None) -> Tail:
    """Of accuracy(first) - accuracy(second) on the same images, which is to be at least `bound`, in (-1, 1).

    McNemar's exact test where `bound` is 0, else the exact unconditional test that is ordered by Tango's score
    statistic (Tango 1998, Statistics in Medicine 17, 891-908).
    """
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    of = effect(first.astype(int) - second, clusters)

    def p_value(won: int, lost: int, bound: float) -> float:
        if bound == 0:
            return of.p_value(float(at_most(of.count(won), of.count(won + lost), 0.5)))
        n = _whole(of, len(first))
        some, others = (round_to(count * n / len(first)) for round_to, count in ((_up, won), (_down, lost)))
        return of.p_value(berger_boos_pvalue(some, others, n, bound))

    return _trusted(Tail(p_value(won, lost, bound), p_value(lost, won, -bound)), clusters)


def unpaired(
    first: Correct,
    second: Correct,
    bound: float,
    clusters: Clusters | None = None,
    other_clusters: Clusters | None = None,
) -> Tail:
    """Of accuracy(first) - accuracy(second) on different images, which is to be at least `bound`, each with its
    clusters: the exact unconditional test that is ordered by the difference."""
    samples = (first, effect(first, clusters)), (second, effect(second, other_clusters))
    df = min(of.df for _, of in samples)

    def counts(correct: Correct, of: Effect, round_to: Callable[[float], int]) -> tuple[int, int]:
        n = _whole(of, len(correct))
        return round_to(int(correct.sum()) * n / len(correct)), n

    def p_value(one: tuple[Correct, Effect], other: tuple[Correct, Effect], bound: float) -> float:
        return Effect(df=df).p_value(_unpaired(*counts(*one, _up), *counts(*other, _down), bound))

    return _trusted(Tail(p_value(*samples, bound), p_value(*samples[::-1], -bound)), clusters, other_clusters)


def _trusted(tail: Tail, *clusters: Clusters | None) -> Tail:
    """Clusters that are too few to know their variance are evidence of nothing."""
    return Tail(1.0, 1.0) if any(some and some.untrusted for some in clusters) else tail


def _whole(of: Effect, n: int) -> int:
    """The effective number of images, rounded down."""
    return max(1, _down(of.count(n)))


def _up(count: float) -> int:
    return int(np.ceil(count - 1e-9))


def _down(count: float) -> int:
    return int(np.floor(count + 1e-9))


def mean_at_most(scores: NDArray[np.float64], bound: float, clusters: Clusters | None = None) -> Tail:
    """Of a mean of per-image scores (n,) that is to be at most `bound`: Student's t test."""
    if np.ptp(scores) == 0:  # nothing to estimate an error from: as if one image, or cluster, were at the other side
        others = round(clusters.most) if clusters else 1
        scores = np.append(scores, np.full(others, 1.0 if scores[0] <= bound else 0.0))
        clusters = clusters and clusters.and_another(others)
    n, of = len(scores), effect(scores, clusters)
    t = (scores.mean() - bound) / scores.std(ddof=1) * np.sqrt(of.count(n))
    df = min(n - 1, of.df)
    return _trusted(Tail(float(stdtr(df, -t)), float(stdtr(df, t))), clusters)


def median_at_least(values: NDArray[np.float64], bound: float, clusters: Clusters | None = None) -> Tail:
    """Of a median of values (n,) that is to be at least `bound`: the exact sign test."""
    return Tail(share(values >= bound, 0.5, clusters).p_violation, share(values <= bound, 0.5, clusters).p_violation)


def effective_robustness(
    trend: Trend,
    shifted: Correct,
    clean: Correct,
    bound: float,
    clusters: Clusters | None = None,
    clean_clusters: Clusters | None = None,
    *,
    scatter: bool = False,
) -> Tail:
    """Of an effective robustness that is to be at least `bound`: the bootstrap, in logit space; with `scatter` among
    single models, as in `trend.effective_robustness`."""
    draws = redrawn_robustness(trend, shifted, clean, clusters, clean_clusters, scatter=scatter)
    tail = Tail(
        float((1 + (draws >= bound).sum()) / (1 + len(draws))),
        float((1 + (draws <= bound).sum()) / (1 + len(draws))),
    )
    return _trusted(tail, clusters, clean_clusters)


def level(alpha: float, rank: int, hypotheses: int, correction: str) -> float:
    """What the p-value of a rank, from 0, among `hypotheses` is compared with, by one of `CORRECTIONS`."""
    if correction == "holm":
        return alpha / (hypotheses - rank)
    dependent = sum(1 / k for k in range(1, hypotheses + 1)) if correction == "benjamini-yekutieli" else 1.0
    return alpha * (rank + 1) / hypotheses / dependent


def rejected(p_values: Sequence[float], alpha: float, hypotheses: int = 0, correction: str = "holm") -> list[bool]:
    """Which hypotheses are rejected: by Holm 1979 so that any true one is with a probability of at most `alpha`, by
    Benjamini & Hochberg 1995, and under any dependence Benjamini & Yekutieli 2001, so that of the rejected ones an
    expected share of at most `alpha` is true.

    Where these are a part of more `hypotheses`, none is rejected that would not be among all of them.
    """
    count = max(hypotheses, len(p_values))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    small = [p_values[i] <= level(alpha, rank, count, correction) for rank, i in enumerate(order)]
    last = small.index(False) if False in small else len(small)  # stepping down, all before the first that is not
    if correction != "holm":  # stepping up, all up to the last one that is
        last = max((rank + 1 for rank, is_small in enumerate(small) if is_small), default=0)
    chosen = set(order[:last])
    return [i in chosen for i in range(len(p_values))]


def images_to_decide(estimate: Estimate, n: int, bound: float, alpha: float, power: float = POWER) -> int | None:
    """How many images would settle on which side of `bound` the figure is, with probability `power`, if it is what it
    seems; by the normal approximation. None where it seems to be at the bound, or beyond ten million."""
    deviation = (estimate.high - estimate.low) / (2 * ndtri(0.975)) * np.sqrt(n)
    away = abs(estimate.value - bound)
    if away == 0 or deviation == 0:
        return None
    images = needed(away, float(deviation), alpha, power)
    return max(n + 1, int(np.ceil(images))) if images < 1e7 else None


def berger_boos_pvalue(won: int, lost: int, n: int, bound: float) -> float:
    """P of as few won and as many lost images, at most, if the true difference is at least `bound`."""
    if not -1 < bound < 1:
        return 1.0 if bound <= -1 else 0.0
    if bound == 0:
        return float(at_most(won, won + lost, 0.5))
    observed = _tango(np.array([won]), np.array([lost]), n, bound)[0] + 1e-9
    discordant = nuisance_grid(won + lost, n, low=abs(bound), high=1.0)
    counts = _likely(n, discordant)
    # Per number of discordant images, the fewest lost ones that are as strong evidence: the statistic falls with them.
    least = rejection_region(lambda c: _tango(counts - c, c, n, bound) <= observed, counts)
    lost_share = (discordant - bound) / 2 / discordant
    return _worst(exactly(counts, n, discordant[:, None]), least - 1, counts, lost_share[:, None])


def _tango(won: NDArray[np.int64], lost: NDArray[np.int64], n: int, bound: float) -> NDArray[np.float64]:
    """(won - lost) / n - bound, over its standard error where the difference is `bound`."""
    b = -won - lost + (2 * n - won + lost) * bound
    q = (np.sqrt(np.maximum(b * b + 8 * n * lost * bound * (1 - bound), 0)) - b) / (4 * n)
    variance = n * (2 * q + bound * (1 - bound))
    return np.asarray((won - lost - n * bound) / np.sqrt(np.maximum(variance, 1e-12)))


def _unpaired(right: int, n: int, other_right: int, other_n: int, bound: float) -> float:
    others = nuisance_grid(other_right, other_n, low=max(0.0, -bound), high=min(1.0, 1 - bound))
    shares = np.clip(others + bound, 0, 1)
    counts = _likely(n, shares)
    observed = right / n - other_right / other_n
    least = np.ceil((counts / n - observed) * other_n - 1e-9)
    weights = exactly(counts, n, shares[:, None])
    return _worst(weights, least - 1, other_n, others[:, None])


def nuisance_grid(count: int, n: int, low: float, high: float) -> NDArray[np.float64]:
    """Shares that are plausible where `count` of n were seen, within [low, high]."""
    least = betaincinv(count, n - count + 1, _LEFT_OUT / 2) if count else 0.0
    most = 1 - betaincinv(n - count, count + 1, _LEFT_OUT / 2) if count < n else 1.0
    return np.clip(np.linspace(least, most, _GRID), low, high)


def _likely(n: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts of n that are not all but impossible for any of the shares, by Bernstein's inequality."""
    p = np.array([shares.min(), shares.max()])
    rare = -np.log(_UNLIKELY)
    away = rare / 3 + np.sqrt(rare * rare / 9 + 2 * rare * n * p * (1 - p))
    return np.arange(max(0, int(n * p[0] - away[0])), min(n, int(n * p[1] + away[1]) + 1) + 1)


def rejection_region(
    holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]], most: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Element by element the first c from 0 to `most` from which on `holds(c)`; most + 1 where none does. Bisection."""
    low, high = np.zeros_like(most), most + 1
    while (low < high).any():
        middle = (low + high) // 2
        true = (middle > most) | holds(np.minimum(middle, most))
        low, high = np.where(true, low, middle + 1), np.where(true, middle, high)
        low = np.minimum(low, high)
    return high


def _worst(weights: NDArray[np.float64], k: ArrayLike, n: ArrayLike, p: ArrayLike) -> float:
    """The largest mean of P(X > k), n trials with probability p each, over the rows of `weights` (shares, counts); what
    weighs nothing is left out, as most of the time goes here."""
    heavy = weights > _NOTHING
    k, n, p = (np.broadcast_to(each, weights.shape)[heavy] for each in (k, n, p))
    tails = np.zeros_like(weights)
    tails[heavy] = more_than(k, n, p)
    return float(min(1.0, (weights * tails).sum(1).max() + _LEFT_OUT))
