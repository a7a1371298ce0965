"""The gate's error rates, by simulation: false alarms and false passes at most alpha, intervals that cover."""

from functools import cache

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from clip_robustness.metrics import evidence, sequential
from clip_robustness.metrics.intervals import Estimate, accuracy, paired_difference, unpaired_difference
from clip_robustness.metrics.trend import effective_robustness, fit, published

SIZES, ACCURACIES, ALPHAS = (50, 500, 5000), (0.01, 0.5, 0.99), (0.05, 0.025, 0.001)
TIMES = 4000
SPREAD = 3
"""Standard errors that a simulated rate may lie above the true one."""
NEAR = 1.3
"""Standard errors from its limit, up to which a difference surprises no test: p-values there are 0.1, twice the largest
alpha. Where they are dear, only every twentieth of these is computed."""


def allowed(alpha, times=TIMES):
    return alpha + SPREAD * np.sqrt(alpha * (1 - alpha) / times)


def noise(times):
    """Of a simulated coverage."""
    return SPREAD * np.sqrt(0.05 * 0.95 / times)


def correct(right, n):
    return np.arange(n) < right


def pair(won, lost, both, n):
    first = np.repeat([True, True, False, False], [both, won, lost, n - both - won - lost])
    return first, np.repeat([True, False, True, False], [both, won, lost, n - both - won - lost])


def shares_of(p, q):
    """Of both, only the first, only the second, and neither right, for models that are mostly right together."""
    both = max(p + q - 1, 0.9 * min(p, q))
    return [both, p - both, q - both, max(0.0, 1 - p - q + both)]


def near(won, lost, n, drop, most=NEAR):
    return np.abs(won - lost + n * drop) <= most * np.sqrt(won + lost)


@cache
def tail_of(won, lost, n, drop):
    """Of what is to convince by more than alpha, as a look or one of many limits: not by two standard errors."""
    if near(won, lost, n, drop, 1.8):
        return evidence.Tail(1.0, 1.0)
    return evidence.paired(*pair(won, lost, 0, n), -drop)


def tables(p, q, n, most=400):
    """Simulated (both, only first, only second, neither), and how often each; `most` of them where there are more."""
    rng = np.random.default_rng(0)
    found, times = np.unique(rng.multinomial(n, shares_of(p, q), TIMES), axis=0, return_counts=True)
    if len(found) > most:
        found, times = found[rng.choice(len(found), most, p=times / times.sum())], np.ones(most)
    return found, times


def assert_rates(tail_of, outcomes, far, times):
    """That each side raises no more than alpha: `tail_of(*outcome)` of the outcomes that are `far` from the limit, each
    of which was seen so many `times`."""
    tails = {i: tail_of(*outcomes[i]) for i in np.union1d(far.nonzero(), np.arange(0, len(far), 20))}
    for side in ("p_violation", "p_compliance"):
        p_values = np.ones(len(outcomes))
        p_values[list(tails)] = [getattr(tail, side) for tail in tails.values()]
        assert (p_values[~far] > max(ALPHAS)).all()
        for alpha in ALPHAS:
            assert times @ (p_values <= alpha) / times.sum() <= allowed(alpha, times.sum()), side


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", ACCURACIES)
def test_an_accuracy_raises_no_more_false_alarms_than_alpha(n, p):
    """Exactly: over all outcomes, weighted with their probability."""
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, p)
    likely = counts[weights > 1e-12]
    tails = [evidence.share(correct(right, n), p) for right in likely]
    for alpha in ALPHAS:
        assert weights[likely] @ [tail.p_violation <= alpha for tail in tails] <= alpha
        assert weights[likely] @ [tail.p_compliance <= alpha for tail in tails] <= alpha


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", ACCURACIES)
@pytest.mark.parametrize("drop", [0, 0.005, 0.05])
def test_a_drop_raises_no_more_false_alarms_and_passes_no_more_than_alpha(n, p, drop):
    """The candidate, p, is worse by just what is allowed."""
    q = p + drop
    if q > 1:
        p, q = 1 - drop, 1.0
    found, times = tables(p, q, n)
    _, won, lost, _ = found.T
    assert_rates(
        lambda both, won, lost, _: evidence.paired(*pair(won, lost, both, n), -drop),
        found, ~near(won, lost, n, drop), times,
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("p", "drop"), [(0.01, 0.005), (0.5, 0.05), (0.99, 0.0)])
def test_a_drop_on_other_images_raises_no_more_false_alarms_than_alpha(n, p, drop):
    rng = np.random.default_rng(0)
    draws = np.stack([rng.binomial(n, p - drop, 300), rng.binomial(2 * n, p, 300)], 1)
    shares = draws / [n, 2 * n]
    deviation = np.sqrt((shares * (1 - shares) / [n, 2 * n]).sum(1))
    assert_rates(
        lambda one, other: evidence.unpaired(correct(one, n), correct(other, 2 * n), -drop),
        draws, np.abs(shares @ [1, -1] + drop) > NEAR * deviation, np.ones(300),
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", ACCURACIES)
def test_intervals_cover(n, p):
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, p)
    likely = counts[weights > 1e-9]
    intervals = [accuracy(correct(right, n)) for right in likely]
    assert weights[likely] @ [i.low <= p <= i.high for i in intervals] >= 0.94
    found, times = tables(p, p, n, most=1500)
    paired = [paired_difference(*pair(won, lost, both, n)) for both, won, lost, _ in found]
    assert times @ [i.low <= 0 <= i.high for i in paired] / times.sum() >= 0.94 - noise(times.sum())
    rng = np.random.default_rng(0)
    drawn = [(rng.binomial(n, p), rng.binomial(n, p)) for _ in range(1500)]
    others = [unpaired_difference(correct(one, n), correct(other, n)) for one, other in drawn]
    assert np.mean([i.low <= 0 <= i.high for i in others]) >= 0.94 - noise(1500)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", ACCURACIES)
def test_effective_robustness_covers_and_raises_no_more_false_alarms_than_alpha(n, p):
    """A candidate that lies on the trend, with the clean accuracy p."""
    trend, rng = published("imagenet-v2"), np.random.default_rng(0)
    covered, alarms = [], []
    for _ in range(200):
        shifted, clean = correct(rng.binomial(n, trend(p)), n), correct(rng.binomial(n, p), n)
        estimate = effective_robustness(trend, shifted, clean)
        covered.append(estimate.low <= 0 <= estimate.high)
        alarms.append(evidence.effective_robustness(trend, shifted, clean, 0.0).p_violation <= 0.025)
    assert np.mean(covered) >= 0.94 - noise(200)
    assert np.mean(alarms) <= allowed(0.025, 200)


@pytest.mark.parametrize(("true", "most"), [(0.3, 0.3), (0.02, 0.02)])
def test_a_mean_raises_no_more_false_alarms_than_alpha(true, most):
    """Flips along sequences of thirty frames: skewed, and often none."""
    rng = np.random.default_rng(0)
    alarms = [
        evidence.mean_at_most(rng.binomial(30, rng.beta(1, 1 / true - 1, 500)) / 30, most).p_violation <= 0.025
        for _ in range(1000)
    ]
    assert np.mean(alarms) <= allowed(0.025, 1000)


@pytest.mark.parametrize("n", [24, 50, 500])
def test_a_median_raises_no_more_false_alarms_than_alpha(n):
    rng = np.random.default_rng(0)
    tails = [evidence.median_at_least(rng.exponential(size=n), np.log(2)) for _ in range(2000)]
    for side in ("p_violation", "p_compliance"):
        assert np.mean([getattr(tail, side) <= 0.025 for tail in tails]) <= allowed(0.025, 2000)


def test_a_whole_gate_raises_no_more_false_alarms_than_alpha():
    """Fifty-eight cells, all just at their limits: Holm's correction keeps the rate of runs with any failure."""

    rng, alarms = np.random.default_rng(0), 0
    for _ in range(300):
        counts = rng.multinomial(240, shares_of(0.85, 0.9), 58)
        alarms += any(
            evidence.rejected([tail_of(won, lost, 240, 0.05).p_violation for _, won, lost, _ in counts], 0.05)
        )
    assert alarms / 300 <= allowed(0.05, 300)


def test_what_is_clearly_worse_is_found():
    counts = np.random.default_rng(0).multinomial(480, shares_of(0.72, 0.9), 200)
    tails = [tail_of(won, lost, 480, 0.05).p_violation for _, won, lost, _ in counts]
    assert np.mean(np.array(tails) <= 0.025 / 58) >= 0.8


def test_as_others_compute_it():
    table = [[300, 9], [21, 150]]
    assert evidence.paired(*pair(9, 21, 300, 480), 0.0).p_violation == pytest.approx(mcnemar(table).pvalue / 2)
    interval = accuracy(correct(81, 263))
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(81, 263, method="beta"))
    p_values = list(np.random.default_rng(0).beta(0.3, 3, 40))
    assert evidence.rejected(p_values, 0.05) == multipletests(p_values, 0.05, "holm")[0].tolist()


def test_the_images_that_would_decide():
    """90% +- 2.7 points at 480 images, a bound 2 points below: about 1800 images, of which 80% of such samples pass."""
    needed = evidence.images_to_decide(accuracy(correct(432, 480)), 480, 0.88, 0.025)
    passes = [
        evidence.share(correct(right, needed), 0.88).p_compliance <= 0.025
        for right in np.random.default_rng(0).binomial(needed, 0.9, 1000)
    ]
    assert 0.7 <= np.mean(passes) <= 0.9
    assert evidence.images_to_decide(Estimate(0.9, 0.85, 0.95), 100, 0.9, 0.025) is None


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", ACCURACIES)
def test_stopping_early_raises_no_more_false_alarms_and_passes_no_more_than_alpha(n, p):
    """The candidate, p, is worse by just what is allowed, and is looked at several times."""
    drop, times = (0.05 if p > 0.05 else 0.005), TIMES
    sizes = sequential.looks(n)
    rng, wrong = np.random.default_rng(0), {"p_violation": 0, "p_compliance": 0}
    for _ in range(times):
        seen = np.cumsum([rng.multinomial(more, shares_of(p - drop, p)) for more in np.diff((0, *sizes))], 0).tolist()
        tails = [tail_of(won, lost, size, drop) for (_, won, lost, _), size in zip(seen, sizes, strict=True)]
        for side in wrong:
            # as soon as one look is convinced, the cell ends
            looks = [sequential.over_looks(tails[: k + 1], sizes) for k in range(len(sizes))]
            wrong[side] += any(getattr(look, side) <= 0.025 for look in looks)
    assert wrong["p_violation"] / times <= allowed(0.025, times)
    assert wrong["p_compliance"] / times <= allowed(0.025, times)


def test_stopping_early_spares_images_and_hardly_any_decision():
    """A candidate that is much worse, and one that is as good: at least half of the images are spared."""
    sizes = sequential.looks(4800)
    for shares, side, alpha in (
        (shares_of(0.7, 0.9), "p_violation", 0.025 / 58),
        (shares_of(0.9, 0.9), "p_compliance", 0.025),
    ):
        used, decided, decided_by_all = [], 0, 0
        for seed in range(40):
            images = np.random.default_rng(seed).choice(4, 4800, p=shares)
            tails = [tail_of(int((images[:s] == 1).sum()), int((images[:s] == 2).sum()), s, 0.05) for s in sizes]
            looks = [getattr(sequential.over_looks(tails[: k + 1], sizes), side) <= alpha for k in range(len(sizes))]
            used.append(sizes[looks.index(True)] if any(looks) else 4800)
            decided += any(looks)
            decided_by_all += getattr(tails[-1], side) <= alpha
        assert np.mean(used) <= 2400
        assert decided >= decided_by_all - 1


def test_one_look_is_an_ordinary_test():
    tail = evidence.Tail(0.01, 0.7)
    assert sequential.looks(30) == (30,)
    assert sequential.over_looks([tail], (30,)) == tail
    assert sum(sequential.shares(sequential.looks(480))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("correction", "theirs"), [("benjamini-hochberg", "fdr_bh"), ("benjamini-yekutieli", "fdr_by"), ("holm", "holm")]
)
def test_corrections_for_many_limits_as_others_compute_them(correction, theirs):
    for seed in range(20):
        p_values = list(np.random.default_rng(seed).beta(0.3, 3, 40))
        found = evidence.rejected(p_values, 0.025, correction=correction)
        assert found == multipletests(p_values, 0.025, theirs)[0].tolist()
        part = evidence.rejected(p_values[:10], 0.025, 40, correction)
        assert not any(ours and not whole for ours, whole in zip(part, found, strict=False))
        assert (min(p_values) <= evidence.level(0.025, 0, 40, correction)) <= any(found)


def test_a_single_model_of_the_trend_is_not_robust_by_chance():
    """Fifteen models that scatter about a line by 0.3 logits, and a sixteenth of the same kind with many images: its
    distance to the line is no effective robustness, which against the line alone it would often be, or the lack of."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        clean = rng.uniform(0.5, 0.85, 16)
        shifted = expit(0.9 * logit(clean) - 0.5 + rng.normal(0, 0.3, 16))
        trend = fit(clean[1:], shifted[1:])
        images = [correct(rng.binomial(20_000, share), 20_000) for share in (shifted[0], clean[0])]
        for scatter in (True, False):
            tail = evidence.effective_robustness(trend, *images, 0.0, scatter=scatter)
            interval = effective_robustness(trend, *images, scatter=scatter)
            found.append([tail.p_violation <= 0.025, tail.p_compliance <= 0.025, interval.low <= 0 <= interval.high])
    among_models, about_line = np.mean(found[::2], 0), np.mean(found[1::2], 0)
    assert (among_models[:2] <= allowed(0.025, 200)).all()
    assert among_models[2] >= 0.94 - noise(200)
    assert (about_line[:2] > 0.1).all()
    assert about_line[2] < 0.7
