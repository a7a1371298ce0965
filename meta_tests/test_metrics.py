import numpy as np
import pytest

from metrics.gate import judge
from metrics.intervals import Estimate, accuracy, paired_difference
from suites import Rule


def outcomes(both, only_first, only_second, neither):
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


def test_wilson_by_hand():
    """81 of 263, Newcombe 1998 (Statistics in Medicine 17, 857-872), table I: 0.2553 to 0.3662."""
    estimate = accuracy(np.arange(263) < 81)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, method 10
        ((14, 5, 0, 22), (0.0115, 0.2265)),  # Altman et al. 2000, Statistics with Confidence, table 6.2
    ],
)
def test_paired_difference_as_published(counts, interval):
    estimate = paired_difference(*outcomes(*counts))
    assert (round(estimate.low, 4), round(estimate.high, 4)) == interval


def test_paired_difference_is_antisymmetric():
    first, second = outcomes(30, 9, 4, 7)
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_identical_outcomes_differ_by_nothing():
    first, _ = outcomes(300, 0, 0, 180)
    estimate = paired_difference(first, first)
    assert estimate.value == 0
    assert estimate.low <= 0 <= estimate.high
    assert estimate.high < 0.01


def test_pairs_must_be_of_the_same_images():
    with pytest.raises(ValueError, match="same images"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.9, 0.8), (0.99, 0.97), (0.05, 0.01)])
def test_the_interval_of_a_paired_difference_covers(n, p, q):
    """Two models right with shares p and q, partly on the same images: 95% intervals hold the truth in >= 94%."""
    rng = np.random.default_rng(0)
    common = 0.5 * min(p, q)
    shares = [common, p - common, q - common, 1 - p - q + common]
    if shares[3] < 0:
        common = p * q
        shares = [common, p - common, q - common, 1 - p - q + common]
    tables, times = np.unique(rng.multinomial(n, shares, size=1500), axis=0, return_counts=True)
    intervals = [paired_difference(*outcomes(*counts)) for counts in tables]
    covered = np.array([interval.low <= p - q <= interval.high for interval in intervals])
    assert covered @ times / times.sum() >= 0.94


def rule(**limits):
    return Rule(match="*", **limits)


HIGH, MIDDLE, LOW = Estimate(0.9, 0.86, 0.93), Estimate(0.84, 0.8, 0.89), Estimate(0.7, 0.65, 0.75)


@pytest.mark.parametrize(("estimate", "status"), [(HIGH, "pass"), (MIDDLE, "inconclusive"), (LOW, "fail")])
def test_a_rule_decides_only_where_the_interval_is_on_one_side(estimate, status):
    assert judge(rule(min_accuracy=0.85), estimate, None).status == status


@pytest.mark.parametrize(
    ("difference", "status"),
    [
        (Estimate(-0.02, -0.04, 0.01), "pass"),
        (Estimate(-0.05, -0.08, -0.02), "inconclusive"),
        (Estimate(-0.15, -0.2, -0.1), "fail"),
    ],
)
def test_the_drop_is_judged_on_the_paired_difference(difference, status):
    assert judge(rule(max_drop_vs_supervised=0.05), HIGH, difference).status == status


def test_the_worst_of_several_limits_decides_and_is_the_reason():
    verdict = judge(rule(min_accuracy=0.85, max_drop_vs_supervised=0.05), HIGH, Estimate(-0.15, -0.2, -0.1))
    assert verdict.status == "fail"
    assert verdict.reason == "difference to the supervised baseline -0.150 [-0.200, -0.100] is below -0.050"


def test_a_limit_on_the_drop_without_a_baseline_fails():
    assert judge(rule(max_drop_vs_supervised=0.05), HIGH, None).status == "fail"


def test_no_rule_is_no_verdict():
    assert judge(None, LOW, None).status == "not gated"
    assert judge(rule(), LOW, None).status == "not gated"
