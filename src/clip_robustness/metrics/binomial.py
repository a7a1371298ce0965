"""Probabilities of the binomial distribution, out of the incomplete beta function; arrays are broadcast.

`scipy.stats` has them, too, but takes half a second to import, which every run would pay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, xlog1py, xlogy

Shares = NDArray[np.float64]


def at_most(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Shares:
    """P(X <= k) of n trials with probability p each; any sign of k. Between whole k and n it is interpolated by the
    incomplete beta function."""
    return more_than(np.asarray(n) - k - 1, n, 1 - np.asarray(p))


def more_than(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Shares:
    """P(X > k)."""
    k, n = np.broadcast_arrays(k, n)
    inside = (k > -1) & (k < n)
    found = betainc(np.where(inside, k + 1, 1), np.where(inside, n - k, 1), p)
    return np.asarray(np.where(inside, found, k < n), np.float64)


def exactly(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Shares:
    """P(X = k), 0 <= k <= n."""
    k, n, p = np.asarray(k, float), np.asarray(n, float), np.asarray(p)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p)))
