"""The binomial distribution as scipy has it, for any count."""

import numpy as np
import pytest
from scipy.stats import binom

from clip_robustness.metrics.binomial import at_most, exactly, more_than


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("p", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_as_scipy_computes_it(n, p):
    k = np.arange(-2, n + 3)
    assert at_most(k, n, p) == pytest.approx(binom.cdf(k, n, p), abs=1e-12)
    assert more_than(k, n, p) == pytest.approx(binom.sf(k, n, p), abs=1e-12)
    assert exactly(k[2:-2], n, p) == pytest.approx(binom.pmf(k[2:-2], n, p), abs=1e-12)


def test_arrays_are_broadcast():
    assert more_than([[0], [1]], [2, 3], 0.5) == pytest.approx(np.array([[3 / 4, 7 / 8], [1 / 4, 1 / 2]]))


def test_between_whole_counts_it_falls_steadily():
    """Counts of clusters are fractions; by the incomplete beta function, at 1/2 of one: I(3/2, 1/2) at p = 1/2."""
    assert float(more_than(0.5, 1, 0.5)) == pytest.approx(0.5 - 1 / np.pi)
    found = more_than(np.linspace(-1, 3, 41), 3, 0.4)
    assert (np.diff(found) < 0).all()
    assert (found[0], found[-1]) == (1, 0)
