"""The evidence for limits by hand, as others compute it, and over all outcomes there can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom, binomtest, multinomial, norm, t, ttest_1samp
from statsmodels.stats.proportion import proportion_confint

from clip_robustness.metrics import evidence
from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.intervals import Estimate
from clip_robustness.metrics.trend import published, redrawn_robustness
from tests.metrics.test_error_rates import correct, pair


@pytest.mark.parametrize(("won", "lost", "n", "bound"), [(3, 9, 50, -0.05), (20, 5, 100, 0.1), (40, 41, 500, -0.02)])
def test_the_score_of_a_difference_has_the_variance_of_the_likeliest_share(won, lost, n, bound):
    """Tango 1998: the share of lost images that is likeliest where the difference is the bound, found numerically."""
    lowest = max(0.0, -bound)
    q = minimize_scalar(
        lambda q: -(won * np.log(q + bound) + lost * np.log(q) + (n - won - lost) * np.log(1 - 2 * q - bound)),
        bounds=(lowest + 1e-9, (1 - bound) / 2 - 1e-9),
        method="bounded",
        options={"xatol": 1e-10},
    ).x
    score = (won - lost - n * bound) / np.sqrt(n * (2 * q + bound - bound**2))
    assert evidence._tango(np.array([won]), np.array([lost]), n, bound)[0] == pytest.approx(score, rel=1e-4)


def as_strong(counts, score, shares):
    """The largest probability over the shares (lists of each outcome's) of a score as low as the first table's."""
    observed = score(*counts[0]) + 1e-9
    low = [table for table in counts[1:] if score(*table) <= observed]
    return max(sum(likelihood(table) for table in low) for likelihood in shares) + 1e-5


@pytest.mark.parametrize(
    ("won", "lost", "n", "bound"),
    [(1, 5, 12, -0.1), (3, 2, 12, 0.2), (0, 1, 10, -0.05), (2, 7, 15, 0.1), (0, 0, 6, -0.3)],
)
def test_a_drop_is_tested_over_all_tables(won, lost, n, bound):
    """Berger & Boos 1994: every outcome of n images, over a fine grid of shares of discordant ones within the exact
    interval of all but 1e-5, to which that is added."""
    least, most = proportion_confint(won + lost, n, 1e-5, "beta")

    def likelihood(discordant):
        shares = [(discordant + bound) / 2, (discordant - bound) / 2, 1 - discordant]
        return lambda table: multinomial.pmf([*table, n - sum(table)], n, shares)

    grid = np.linspace(max(np.nan_to_num(least), abs(bound)), most, 150)
    tables = [(won, lost), *((i, j) for i in range(n + 1) for j in range(n + 1 - i))]
    expected = as_strong(tables, lambda i, j: evidence._tango(*map(np.array, (i, j)), n, bound), map(likelihood, grid))
    first, second = pair(won, lost, 0, n)
    found = evidence.paired(first, second, bound)
    assert found.p_violation == pytest.approx(expected, rel=2e-3)
    assert found.p_compliance == pytest.approx(evidence.paired(second, first, -bound).p_violation)


@pytest.mark.parametrize(
    ("one", "other", "bound"),
    [((3, 9), (10, 14), -0.1), ((5, 8), (3, 9), 0.2), ((0, 5), (1, 7), 0.0), ((6, 6), (5, 5), -0.2)],
)
def test_a_drop_on_other_images_is_tested_over_all_pairs_of_counts(one, other, bound):
    (k, n), (m, size) = one, other

    def likelihood(share):
        return lambda table: binom.pmf(table[0], n, share + bound) * binom.pmf(table[1], size, share)

    least, most = np.nan_to_num(proportion_confint(m, size, 1e-5, "beta"), nan=1)
    grid = np.linspace(max(least if m else 0, -bound, 0), min(most, 1 - bound, 1), 150)
    tables = [(k, m), *((i, j) for i in range(n + 1) for j in range(size + 1))]
    expected = as_strong(tables, lambda i, j: i / n - j / size, map(likelihood, grid))
    found = evidence.unpaired(correct(k, n), correct(m, size), bound)
    assert found.p_violation == pytest.approx(min(1, expected), rel=3e-3)
    assert found.p_compliance == evidence.unpaired(correct(m, size), correct(k, n), -bound).p_violation


@pytest.mark.parametrize(
    ("n", "shares", "least", "most"),
    [
        (1000, [0.5], 391, 609),  # r = ln 1e9 = 20.72: r / 3 + sqrt(r^2 / 9 + 2 r n p (1 - p)) = 108.96
        (1000, [0.3, 0.5, 0.4], 199, 609),  # 100.4 below 300
        (1000, [0.001], 0, 18),  # 16.3 above 1
        (1000, [0.00122], 0, 19),  # 16.82, but 16.57 were it r^2 / 10
        (1000, [0.999], 982, 1000),
        (20, [0.5], 0, 20),
        (9, [0.0, 1.0], 0, 9),
    ],
)
def test_counts_that_are_left_out_are_all_but_impossible(n, shares, least, most):
    counts = evidence._likely(n, np.array(shares))
    assert counts.tolist() == list(range(least, most + 1))
    for p in shares:
        assert binom.cdf(least - 1, n, p) + binom.sf(most, n, p) < 2e-9


def test_bounds_that_can_not_be_kept_or_not_be_broken():
    assert evidence.berger_boos_pvalue(3, 2, 9, -1) == 1
    assert evidence.berger_boos_pvalue(3, 2, 9, 1) == 0
    assert evidence.berger_boos_pvalue(1, 4, 9, 0) == pytest.approx(6 / 32)


def test_means_and_medians_as_scipy_tests_them():
    scores = np.random.default_rng(0).exponential(size=30)
    for bound in (0.5, 1.0):
        found = evidence.mean_at_most(scores, bound)
        assert found.p_violation == pytest.approx(ttest_1samp(scores, bound, alternative="greater").pvalue)
        assert found.p_compliance == pytest.approx(ttest_1samp(scores, bound, alternative="less").pvalue)
        found, above = evidence.median_at_least(scores, bound), int((scores >= bound).sum())
        assert found.p_violation == pytest.approx(binomtest(above, 30, alternative="less").pvalue)
        assert found.p_compliance == pytest.approx(binomtest(30 - above, 30, alternative="less").pvalue)


@pytest.mark.parametrize(("constant", "side"), [(0.0, "p_compliance"), (0.5, "p_violation")])
def test_a_constant_mean_is_tested_as_if_one_image_were_on_the_other_side(constant, side):
    scores = np.full(9, constant)
    other = [*scores, 1.0 - (constant > 0.2)]
    expected = evidence.mean_at_most(np.array(other), 0.2)
    assert evidence.mean_at_most(scores, 0.2) == expected
    assert getattr(expected, side) < 0.5


def test_a_constant_mean_of_clusters_is_tested_as_if_one_of_them_were_on_the_other_side():
    """Forty of four, and one more: four images, as many as the bound on the design effect."""
    clusters, zeros = Clusters.of([(str(i // 4),) for i in range(160)]), np.zeros(160)
    with_another = Clusters.of([(str(i // 4),) for i in range(164)])
    assert evidence.mean_at_most(zeros, 0.2, clusters) == evidence.mean_at_most(
        np.append(zeros, np.ones(4)), 0.2, with_another
    )


@pytest.mark.parametrize(("count", "n", "low", "high"), [(3, 20, 0.0, 1.0), (0, 5, 0.02, 0.8), (5, 5, 0.0, 0.99)])
def test_the_grid_is_of_the_exact_interval_of_all_but_a_hundred_thousandth(count, n, low, high):
    least, most = proportion_confint(count, n, 1e-5, "beta")
    expected = np.linspace(least if count else 0, most if count < n else 1, 48).clip(low, high)
    assert evidence.nuisance_grid(count, n, low, high) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-1, 45)), min_size=1, max_size=20))
def test_the_first_count_from_which_on_something_holds_is_found(pairs):
    most, first = (np.array(column) for column in zip(*pairs, strict=True))
    found = evidence.rejection_region(lambda c: c >= first, most)
    assert found.tolist() == [next((c for c in range(m + 1) if c >= f), m + 1) for m, f in pairs]


@pytest.mark.parametrize("clusters", [None, Clusters.of([(str(i // 4),) for i in range(160)])])
def test_of_clusters_the_tests_are_those_of_effective_counts(clusters):
    """What takes the design effect for known is then read on Student's distribution; counts are rounded to the side of
    caution: 30 of 160 as few, 12 as many."""
    rng = np.random.default_rng(0)
    first, second = (np.repeat(rng.random(40) < 0.75, 4) ^ (rng.random(160) < 0.1) for _ in range(2))
    of = effect(first, clusters)
    found, n, right = evidence.share(first, 0.7, clusters), 160 / of.deff, first.sum() / of.deff
    p = np.array([beta.sf(0.7, right + 1, n - right), beta.cdf(0.7, right, n - right + 1)])
    assert [found.p_violation, found.p_compliance] == pytest.approx(t.cdf(norm.ppf(p), of.df))
    of = effect(first.astype(int) - second, clusters)
    n, won, lost = (int(x.sum()) / of.deff for x in (np.ones(160), first & ~second, second & ~first))
    whole = int(n + 1e-9)
    for bound in (-0.06, 0.04):
        p = evidence.berger_boos_pvalue(
            int(np.ceil(won * of.deff * whole / 160 - 1e-9)), int(lost * of.deff * whole / 160 + 1e-9), whole, bound
        )
        assert evidence.paired(first, second, bound, clusters).p_violation == pytest.approx(t.cdf(norm.ppf(p), of.df))
    p = beta.sf(0.5, won + 1, lost)
    assert evidence.paired(first, second, 0, clusters).p_violation == pytest.approx(t.cdf(norm.ppf(p), of.df))


def test_too_few_clusters_show_nothing():
    few, right = Clusters.of([(str(i // 10),) for i in range(100)]), np.arange(100) < 99
    nothing = evidence.Tail(1, 1)
    assert evidence.share(right, 0.2, few) == evidence.paired(right, ~right, 0.1, few) == nothing
    assert evidence.unpaired(right, ~right, 0.1, None, few) == evidence.unpaired(right, ~right, 0.1, few) == nothing
    assert evidence.mean_at_most(right * 1.0, 0.2, few) == evidence.median_at_least(right * 1.0, 0.5, few) == nothing
    trend = published("imagenet-v2")
    assert evidence.effective_robustness(trend, right, right, 0.0, None, few) == nothing


def test_effective_robustness_is_tested_by_shares_of_five_thousand_draws():
    trend, right = published("imagenet-v2"), correct(70, 100)
    draws = redrawn_robustness(trend, right, right)
    assert len(draws) == 5000
    middle = float(np.sort(draws)[1234])
    found = evidence.effective_robustness(trend, right, right, middle)
    assert (found.p_violation, found.p_compliance) == pytest.approx(((1 + 5000 - 1234) / 5001, (1 + 1235) / 5001))
    assert evidence.effective_robustness(trend, right, right, 1.0).p_violation == 1 / 5001


def test_levels_by_hand():
    """0.06 among three: Holm a third, half, all; Benjamini and Hochberg thirds; Yekutieli these by 1 + 1/2 + 1/3."""
    ranks = {name: [evidence.level(0.06, rank, 3, name) for rank in range(3)] for name in evidence.CORRECTIONS}
    assert ranks["holm"] == pytest.approx([0.02, 0.03, 0.06])
    assert ranks["benjamini-hochberg"] == pytest.approx([0.02, 0.04, 0.06])
    assert ranks["benjamini-yekutieli"] == pytest.approx([x * 6 / 11 for x in (0.02, 0.04, 0.06)])
    assert evidence.rejected([0.02, 0.05, 0.03], 0.06) == [True, True, True]
    assert evidence.rejected([0.02, 0.021, 0.02], 0.06, 4) == [False] * 3


def test_the_images_that_would_decide_by_hand():
    """A deviation of 0.4 from the interval of 100 images, 0.05 away: (1.96 + 0.8416)^2 x 64 = 502.3."""
    half = 1.959964 * 0.4 / 10
    assert evidence.images_to_decide(Estimate(0.8, 0.8 - half, 0.8 + half), 100, 0.75, 0.025) == 503
    assert evidence.images_to_decide(Estimate(0.8, 0.8 - half, 0.8 + half), 800, 0.7, 0.025, 0.5) == 801
    assert evidence.images_to_decide(Estimate(0.8, 0.8, 0.8), 100, 0.7, 0.025) is None
    assert evidence.images_to_decide(Estimate(0.8, 0.7, 0.9), 10**6, 0.8001, 0.025) is None
