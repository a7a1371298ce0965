"""Intervals as others compute or publish them."""

import numpy as np
import pytest
from scipy.stats import beta, binom, norm, t
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.intervals import (
    Estimate,
    accuracy,
    flat,
    mean,
    median,
    paired_difference,
    unpaired_difference,
)


def correct(right, n):
    return np.arange(n) < right


def pair(both, first, second, neither):
    counts = [both, first, second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def ends(estimate):
    return estimate.low, estimate.high


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 20), (13, 20), (20, 20), (1, 1)])
@pytest.mark.parametrize("looks", [1, 4])
def test_an_accuracy(right, n, looks):
    theirs = proportion_confint(right, n, alpha=0.05 / looks, method="beta")
    assert ends(accuracy(correct(right, n), looks=looks)) == pytest.approx(np.nan_to_num(theirs, nan=right == n))
    assert accuracy(correct(right, n)).value == right / n


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((36, 12, 2, 0), (0.2, 0.0569, 0.3404)),  # Newcombe 1998, table III, method 10
        ((20, 12, 2, 16), (0.2, 0.0562, 0.3292)),
    ],
)
def test_a_paired_difference_is_the_published_one(table, expected):
    found = paired_difference(*pair(*table))
    assert (found.value, *ends(found)) == pytest.approx(expected, abs=5e-5)
    a, b, c, d = table
    mirrored = paired_difference(*pair(a, c, b, d))
    assert (mirrored.value, *ends(mirrored)) == pytest.approx((-found.value, -found.high, -found.low))


@pytest.mark.parametrize("table", [(1, 1, 1, 1), (0, 5, 3, 0), (4, 0, 0, 0), (3, 4, 4, 3)])
def test_a_paired_difference_by_its_formula(table):
    """Wilson limits of both shares, and their correlation: where it is positive less n / 2, but not under 0."""
    a, b, c, d = table
    n = sum(table)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    above = a * d - b * c
    phi = (max(above - n / 2, 0) if above > 0 else above) / np.sqrt(margins) if margins else 0
    (low, high), (other_low, other_high) = (proportion_confint(k, n, method="wilson") for k in (a + b, a + c))
    x, y = ((a + b) / n - low, high - (a + b) / n), (other_high - (a + c) / n, (a + c) / n - other_low)
    reach = [np.sqrt(max(0, i * i - 2 * phi * i * j + j * j)) for i, j in zip(x, y, strict=True)]
    found = paired_difference(*pair(*table))
    assert ends(found) == pytest.approx(((b - c) / n - reach[0], (b - c) / n + reach[1]))


def test_a_paired_difference_needs_the_same_images():
    with pytest.raises(ValueError, match="the same images, got 3 and 4"):
        paired_difference(correct(1, 3), correct(1, 4))


@pytest.mark.parametrize(("one", "other"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 10), (10, 10))])
def test_an_unpaired_difference(one, other):
    found = unpaired_difference(correct(*one), correct(*other))
    theirs = confint_proportions_2indep(*one, *other, method="newcomb", compare="diff", correction=False)
    assert ends(found) == pytest.approx(theirs)
    assert found.value == pytest.approx(one[0] / one[1] - other[0] / other[1])


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (25, 8), (60, 22)])
def test_a_median_lies_between_the_ranks_of_the_tables(n, rank):
    """The largest rank with P(X < rank) at most 2.5%, X of n with 1/2 each; and as many from above."""
    assert binom.cdf(rank - 1, n, 0.5) <= 0.025 < binom.cdf(rank, n, 0.5)
    values = np.random.default_rng(0).permutation(n) + 1.0
    assert median(values, -1, 99) == Estimate((n + 1) / 2, rank, n + 1 - rank)


def test_of_clusters_counts_are_divided_by_the_design_effect():
    rng = np.random.default_rng(0)
    clusters = Clusters.of([(str(i // 4),) for i in range(240)])
    right, others = ((rng.random(60) < 0.7).repeat(4) ^ (rng.random(240) < 0.1) for _ in range(2))
    of = effect(right, clusters)
    assert 2 < of.deff < 4
    n, k, tail = 240 / of.deff, right.sum() / of.deff, norm.cdf(t.ppf(0.025, of.df))
    assert ends(accuracy(right, clusters)) == pytest.approx(
        (beta.ppf(tail, k, n - k + 1), beta.ppf(1 - tail, k + 1, n - k))
    )
    scores = rng.normal(size=60).repeat(4)
    of = effect(scores, clusters)
    reach = t.ppf(0.975, min(239, of.df)) * scores.std(ddof=1) / np.sqrt(240 / of.deff)
    assert ends(mean(scores, clusters)) == pytest.approx((scores.mean() - reach, scores.mean() + reach))
    alone, together = paired_difference(right, others), paired_difference(right, others, clusters)
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    apart = unpaired_difference(right, others, clusters), unpaired_difference(right, others, None, clusters)
    both = unpaired_difference(right, others, clusters, clusters)
    for one in apart:
        assert both.high - both.low > one.high - one.low > unpaired_difference(right, others).high - one.low


def test_figures_have_the_ends_of_their_intervals_beside_them():
    found = flat({"a": Estimate(0.5, 0.4, 0.7)})
    assert found == {"a": 0.5, "a_ci95_low": 0.4, "a_ci95_high": 0.7}
