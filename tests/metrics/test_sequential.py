"""What ending a cell early does to its interval, as docs/gate.md has it."""

from functools import cache

import numpy as np
import pytest

from clip_robustness.metrics import evidence, sequential
from clip_robustness.metrics.intervals import accuracy, median


def test_looks_and_what_they_spend_by_hand():
    """At an eighth, a quarter, half and all, where these are 24 images; of alpha the squares of these parts."""
    assert sequential.looks(480) == (60, 120, 240, 480)
    assert sequential.looks(192) == (24, 48, 96, 192)
    assert sequential.looks(180) == (45, 90, 180)  # an eighth is 22
    assert sequential.looks(10) == (10,)
    assert sequential.shares((60, 120, 240, 480)) == pytest.approx([1 / 64, 3 / 64, 12 / 64, 48 / 64])
    tails = [evidence.Tail(0.001, 0.9), evidence.Tail(0.3, 0.0015)]
    assert sequential.over_looks(tails[:1], (60, 120, 240, 480)) == evidence.Tail(pytest.approx(0.064), 1)
    found = sequential.over_looks(tails, (60, 120, 240, 480))
    assert (found.p_violation, found.p_compliance) == pytest.approx((0.064, 0.032))


@cache
def seen(right, n, bound):
    """Of a look: the evidence, and the interval."""
    correct = np.arange(n) < right
    return evidence.share(correct, bound), accuracy(correct)


def test_intervals_of_cells_that_may_end_early_cover_a_little_less():
    """An accuracy of 50% that is to be at least 45%: of all cells 92% at least, of those that ended early fewer."""
    rng, sizes = np.random.default_rng(0), sequential.looks(480)
    covered, early = [], []
    for _ in range(2000):
        right, tails = rng.random(480) < 0.5, []
        for n in sizes:
            tail, estimate = seen(int(right[:n].sum()), n, 0.45)
            tails.append(tail)
            over = sequential.over_looks(tails, sizes)
            if min(over.p_violation, over.p_compliance) <= 0.025:
                break
        covered.append(estimate.low <= 0.5 <= estimate.high)
        early.append(n < 480)
    assert 0.92 <= np.mean(covered) <= 0.95
    assert np.mean(np.array(covered)[early]) < 0.85


def test_a_median_of_fewer_than_six_values_has_no_interval_but_all_that_is_possible():
    values = np.arange(1.0, 7)
    assert (median(values[:5], 0, 510).low, median(values[:5], 0, 510).high) == (0, 510)
    assert (median(values, 0, 510).low, median(values, 0, 510).high) == (1, 6)
