"""Tests and intervals of images that belong together: by hand, as others compute them, and by simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm, t

from clip_robustness.metrics import evidence, intervals
from clip_robustness.metrics.clusters import Clusters, Effect, effect
from tests.metrics.simulated import ALPHA, SPREAD, Setting, grid, rates

TIMES = 150
QUICK = [
    setting
    for setting in grid()
    if setting.n == 500 and setting.size != "1" and setting.correlation > 0 and setting.accuracy != 0.02
]


def clusters_of(*ways):
    return Clusters.of([tuple(map(str, names)) for names in zip(*ways, strict=True)])


@pytest.mark.parametrize("setting", [*QUICK, Setting("mixed", 1.0, 50, 0.5), Setting("4", 0.0, 500, 0.98)], ids=str)
def test_verdicts_err_no_more_than_alpha_and_intervals_cover(setting):
    found = rates(setting, TIMES)
    assert found.kept, found


@pytest.mark.parametrize("size", ["4", "10"])
def test_tests_for_independent_images_would_not_keep_it(size):
    """What the simulation is for: outcomes that are shared within clusters, taken for independent ones."""
    found = rates(Setting(size, 1.0, 500, 0.5), TIMES, aware=False)
    assert not found.kept
    assert found.at_zero[0] > 0.1
    assert found.at_zero[2] < 0.8


def test_images_that_do_not_belong_together_are_independent():
    assert clusters_of(range(50)) is None
    assert clusters_of(range(50), range(50)) is None
    assert clusters_of([0, 0, 1, 1])[np.array([True, False, True, False])] is None


def test_outcomes_that_are_the_same_within_clusters_count_once_each():
    """125 clusters of 4 of which 60 are right: as 125 images, but for what is not known of their variance."""
    right = np.repeat(np.arange(125) < 60, 4)
    of = effect(right, clusters_of(np.repeat(np.arange(125), 4)))
    assert of.deff == pytest.approx(4 * 125 / 124 * 499 / 500)
    assert of.df == pytest.approx(124)
    independent, clustered = intervals.accuracy(right[::4]), intervals.accuracy(right, clusters_of(np.arange(500) // 4))
    assert clustered.value == independent.value
    assert independent.low - 0.005 < clustered.low < independent.low
    assert independent.high < clustered.high < independent.high + 0.005


@pytest.mark.parametrize("ways", [1, 2])
def test_the_variance_is_that_of_statsmodels(ways):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 40, (2, 600))
    scores = rng.normal(size=600) + rng.normal(size=40)[numbers[0]] + rng.normal(size=40)[numbers[1]]
    clusters = clusters_of(*numbers[:ways])
    fitted = sm.OLS(scores, np.ones(600)).fit(
        cov_type="cluster", cov_kwds={"groups": numbers[:ways].T.squeeze(), "df_correction": True}
    )
    assert clusters.variance(scores) == pytest.approx(fitted.bse[0] ** 2, rel=2e-3)
    alone = clusters_of(np.arange(600) // 2)
    assert alone.variance(scores) == pytest.approx(
        sm.OLS(scores, np.ones(600)).fit(cov_type="cluster", cov_kwds={"groups": np.arange(600) // 2}).bse[0] ** 2
    )


def test_what_few_clusters_show_weighs_less_than_the_bound():
    """Two wrong images, in two of 50 clusters of ten: nothing shows that clusters are not wrong as a whole."""
    clusters, wrong = clusters_of(np.repeat(np.arange(50), 10)), np.zeros(500, bool)
    wrong[[3, 44]] = True
    assert 8 < effect(wrong, clusters).deff < 10
    many = np.random.default_rng(0).random(500) < 0.5
    assert effect(many, clusters).deff < 3
    assert effect(np.zeros(500, bool), clusters).deff == 10


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([10] * 29, "29 clusters, fewer than the 30"),
        ([10] * 30, ""),
        ([200] + [1] * 300, "a few of these have most"),
        ([1, 4, 10] * 30, ""),
    ],
)
def test_a_verdict_needs_thirty_clusters_that_weigh_alike(sizes, said):
    clusters = clusters_of(np.repeat(np.arange(len(sizes)), sizes))
    assert said in clusters.untrusted
    assert bool(clusters.untrusted) == bool(said)


def test_effects_by_hand():
    """Half of the counts; what is read on the normal distribution is read on Student's with ten degrees of freedom."""
    of, known = Effect(2.0, 10.0), Effect(2.0)
    assert (of.count(7), known.count(7), Effect().count(7)) == (3.5, 3.5, 7)
    assert of.p_value(0.025) == pytest.approx(t.cdf(norm.ppf(0.025), 10))
    assert of.quantile(0.975) == pytest.approx(t.ppf(0.975, 10))
    assert of.tail(0.025) == pytest.approx(norm.cdf(t.ppf(0.025, 10)))
    assert (known.p_value(0.3), known.tail(0.3)) == (0.3, 0.3)
    assert known.quantile(0.975) == pytest.approx(norm.ppf(0.975))


@pytest.mark.parametrize(("df", "wider"), [(np.inf, 1), (10.0, (t.ppf(0.975, 10) / norm.ppf(0.975)) ** 2)])
def test_draws_are_of_jeffreys_posterior_of_effective_counts(df, wider):
    class Asked:
        def beta(self, *given):
            return given

    expected = (6 / (3 * wider) + 0.5, 3 / (3 * wider) + 0.5, 100)
    assert Effect(3.0, df).draws(6, 9, Asked(), 100) == pytest.approx(expected)


def test_clusters_of_several_sizes_by_hand():
    """Of 2, 1 and 3 samples: 14 squared sizes. Six samples: df 36 / 14 - 1, at least 1."""
    clusters = clusters_of([0, 0, 1, 2, 2, 2])
    assert (clusters.count, clusters.most) == (3, pytest.approx(14 / 6))
    assert clusters.df == pytest.approx(36 / 14 - 1)
    assert clusters_of([0, 0, 0, 1]).df == 1
    assert clusters_of([0, 0, 0, 0]).variance(np.arange(4.0)) == 0
    scores = np.array([1.0, 0, 1, 1, 0, 0])
    sums = np.array([0.0, 0.5, -0.5])  # of what is above the mean of a half
    assert clusters.variance(scores) == pytest.approx(3 / 2 * (sums**2).sum() / 36)
    assert clusters.with_event(np.array([1.0, 1, 1, 1, 0, 0])) == 1
    assert clusters.with_event(np.array([1.0, 1, 0, 1, 1, 0])) == 2
    assert clusters.with_event(np.ones(6)) == 0
    more = clusters.and_another(2)
    assert more.ways.tolist() == [[0, 0, 1, 2, 2, 2, 3, 3]]


def test_what_is_seen_is_weighed_with_the_bound_as_ten_events():
    """Fifty clusters of four, twelve of which have one wrong image: no correlation at all, and a bound of four."""
    clusters, wrong = clusters_of(np.repeat(np.arange(50), 4)), np.zeros(200)
    wrong[:48:4] = 1
    alone = wrong.var() / 199
    found = max(1.0, clusters.variance(wrong) / alone)
    assert found == 1
    assert effect(wrong, clusters).deff == pytest.approx((12 * 1 + 10 * 4) / 22)
    assert effect(wrong, clusters).df == pytest.approx(49)
    assert effect(wrong, None) == Effect(1, np.inf)


def test_a_few_large_clusters_are_told_by_how_many_weigh_alike():
    """Squared sizes count: (sum s^2)^2 / sum s^4, at least ten."""
    for large, trusted in ((9, False), (10, True)):
        clusters = clusters_of(np.repeat(np.arange(large + 30), [100] * large + [1] * 30))
        assert bool(clusters.untrusted) != trusted


def test_of_two_ways_both_count():
    """Every texture with every shape: a texture decides its images, and so does a shape."""
    texture, shape = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    both = clusters_of(texture, shape)
    assert both.count == 30
    assert both.most == 30 + 40 - 1
    for way, one in ((texture, 30), (shape, 40)):
        right = way % 2 == 0
        assert effect(right, clusters_of(way)).deff == pytest.approx(one, rel=0.05)
        assert effect(right, both).deff > 0.95 * one


def test_verdicts_of_cue_conflicts_err_no_more_than_alpha():
    """427 images of 160 shapes and 48 textures, both of which make an image easier or harder: the old tests do err."""
    rng, alarms = np.random.default_rng(0), []
    for _ in range(TIMES):
        shape, texture = rng.integers(0, 160, 427), rng.integers(0, 48, 427)
        clusters, own = clusters_of(shape, texture), rng.normal(size=427)
        right = np.sqrt(0.3) * (rng.normal(size=160)[shape] + rng.normal(size=48)[texture]) + np.sqrt(0.4) * own > 0
        for of in (clusters, None):
            tail, estimate = evidence.share(right, 0.5, of), intervals.accuracy(right, of)
            outside = not estimate.low <= 0.5 <= estimate.high
            alarms.append([tail.p_violation <= ALPHA, tail.p_compliance <= ALPHA, outside])
    promised = np.array([ALPHA, ALPHA, 0.06])
    assert (np.mean(alarms[::2], 0) <= promised + SPREAD * np.sqrt(promised * (1 - promised) / TIMES)).all()
    assert (np.mean(alarms[1::2], 0) > [0.08, 0.08, 0.2]).all()


def test_means_and_medians_of_shared_scores():
    """False alarms of a mean of 0.2 against 0.2 and of the median of an exponential distribution, 40 clusters of ten
    whose images are all alike."""
    rng, numbers, alarms = np.random.default_rng(0), np.repeat(np.arange(40), 10), []
    clusters = clusters_of(numbers)
    for _ in range(600):
        flips, eps = rng.binomial(30, 0.2, 40)[numbers] / 30, rng.exponential(size=40)[numbers]
        tails = evidence.mean_at_most(flips, 0.2, clusters), evidence.median_at_least(eps, np.log(2), clusters)
        mean, median = intervals.mean(flips, clusters), intervals.median(eps, 0, 100, clusters)
        outside = not mean.low <= 0.2 <= mean.high, not median.low <= np.log(2) <= median.high
        alarms.append([*(p <= ALPHA for tail in tails for p in (tail.p_violation, tail.p_compliance)), *outside])
    promised = np.array([ALPHA] * 4 + [0.06] * 2)
    assert (np.mean(alarms, 0) <= promised + SPREAD * np.sqrt(promised * (1 - promised) / 600)).all(), np.mean(
        alarms, 0
    )


def test_different_images_of_clusters():
    rng, alarms = np.random.default_rng(0), []
    one, other = np.repeat(np.arange(60), 5), np.repeat(np.arange(100), 5)
    of = clusters_of(one), clusters_of(other)
    for _ in range(300):
        pair = (rng.random(60) < 0.6)[one], (rng.random(100) < 0.65)[other]
        tail, estimate = evidence.unpaired(*pair, -0.05, *of), intervals.unpaired_difference(*pair, *of)
        alarms.append(
            [tail.p_violation <= ALPHA, tail.p_compliance <= ALPHA, not estimate.low <= -0.05 <= estimate.high]
        )
    assert (np.mean(alarms, 0) <= np.array([0.052, 0.052, 0.1])).all(), np.mean(alarms, 0)


def test_constant_scores_of_clusters_decide_nothing_that_few_clusters_could_not():
    clusters = clusters_of(np.repeat(np.arange(30), 100))
    assert evidence.mean_at_most(np.zeros(3000), 0.01, clusters).p_compliance > ALPHA
    assert evidence.mean_at_most(np.zeros(3000), 0.01).p_compliance < ALPHA
