import numpy as np
import pytest

from clip_robustness.metrics.evidence import share
from clip_robustness.metrics.intervals import accuracy, median, paired_difference
from clip_robustness.results.result import Check, Result
from clip_robustness.suites import Gate
from clip_robustness.suites.rules import Limit, Rule
from clip_robustness.verdicts.judge import Evidence, corrected, judge


def outcomes(both, only_first, only_second, neither):
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


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


GATE = Gate()


def limits(match="*", known_weakness=None, **values):
    """Those of one rule."""
    rule = Rule(match=match, known_weakness=known_weakness, **values)
    return [Limit(name, rule) for name in values]


def accurate(right, n=480, bound=0.85):
    """Of `min_accuracy` at the bound: 450 of 480 show that it is kept, 408 leave it open, 360 show that it is not."""
    correct = np.arange(n) < right
    kept = share(correct, bound)
    return Evidence("accuracy", bound, accuracy(correct), kept, n, signed=False, limit="min_accuracy")


def checked(right, n=480, bound=0.85, of=1, gate=GATE, **more):
    return judge(limits(min_accuracy=bound, **more), [accurate(right, n, bound)], gate, of)


@pytest.mark.parametrize(("right", "status"), [(450, "pass"), (408, "inconclusive"), (360, "fail")])
def test_a_limit_decides_only_on_strong_evidence(right, status):
    assert checked(right).status == status


def test_evidence_against_a_limit_is_shared_with_all_limits_of_the_run_and_evidence_for_it_is_not():
    """388 of 480, p = 0.008: a failure alone, but one of a hundred such cells is to be expected."""
    assert checked(388).status == "fail"
    assert checked(388, of=100).status == "inconclusive"
    assert checked(430).status == checked(430, of=100).status == "pass"


def test_a_weakness_is_gone_only_on_evidence_that_is_shared_as_well():
    assert checked(430, of=100, known_weakness="why").status == "known weakness"
    assert checked(470, of=100, known_weakness="why").status == "improved"


@pytest.mark.parametrize(
    ("weak", "firm", "status", "settled"),
    [
        (360, 450, "known weakness", True),
        (408, 450, "known weakness", False),
        (360, 408, "inconclusive", False),
        (360, 360, "fail", True),
        (408, 360, "fail", True),
        (450, 450, "improved", True),
        (450, 408, "improved", False),
        (450, 360, "fail", True),
    ],
)
def test_a_known_weakness_excuses_the_limits_of_its_own_rule_alone(weak, firm, status, settled):
    own = limits("clean/*", known_weakness="why", min_accuracy=0.85)
    verdict = judge([*own, *limits(max_regression=0.02)], [accurate(weak), accurate(firm)], GATE, 2)
    assert (verdict.status, verdict.settled) == (status, settled)
    assert [check.weak for check in verdict.checks] == [True, False]
    if status == "fail":
        assert "why" not in verdict.reason


def test_of_two_known_weaknesses_the_one_that_is_gone_is_noticed():
    own = limits("clean/*", known_weakness="why", min_accuracy=0.85)
    other = limits("clean/c*", known_weakness="because", min_median_eps=1.0)
    verdict = judge([*own, *other], [accurate(360), accurate(470)], GATE, 2)
    assert verdict.status == "improved"
    assert "from rule 'clean/c*'" in verdict.reason
    assert "'clean/*'" not in verdict.reason


def test_an_inconclusive_cell_says_how_many_more_images_would_decide():
    (check,) = checked(395, of=100).checks
    assert check.more_images > 480
    assert f"about {check.more_images} more images would decide" in check.reason


def test_the_worst_of_several_limits_decides_and_is_the_reason():
    good, bad = np.arange(480) < 470, np.arange(480) < 300
    found = [
        Evidence("accuracy", 0.85, accuracy(good), share(good, 0.85), 480, signed=False, limit="min_accuracy"),
        Evidence(
            "flips",
            0.3,
            accuracy(bad),
            share(bad, 0.3).mirrored(),
            480,
            at_least=False,
            limit="max_flip_rate",
            unit="points",
        ),
    ]
    verdict = judge(limits(min_accuracy=0.85, max_flip_rate=0.3), found, GATE, 2)
    assert verdict.status == "fail"
    assert verdict.reason.startswith("flips +62.5 [+58.0, +66.8] is above +30.0 points")


def test_what_could_not_be_checked_fails():
    assert judge(limits(max_drop_vs_supervised=0.05), ["needs a baseline"], GATE, 1).status == "fail"


def test_no_limit_is_no_verdict():
    verdict = judge([], [], GATE, 1, "min_accuracy is switched off")
    assert (verdict.status, verdict.reason) == ("not gated", "min_accuracy is switched off")


def test_further_failures_follow_where_others_fail():
    """p = 0.02 is too little for one of two limits, and enough for the last one that is left."""

    def cell(verdict, p, **more):
        check = Check("min_accuracy", 0.85, 0.8, (0.7, 0.9), p, 1 - p, verdict, "below; more would decide", **more)
        return Result("clean", "clean", {}, "m", "candidate", verdict, "", checks=(check,), allowed=True)

    first, second = corrected([cell("fail", 0.001), cell("inconclusive", 0.02)], 0.05)
    assert (first.verdict, second.verdict) == ("fail", "fail")
    assert "Holm" in second.reason
    assert not second.allowed
    _, second = corrected([cell("fail", 0.001), cell("inconclusive", 0.02)], 0.05, report_only=True)
    assert second.allowed
    _, weak = corrected([cell("fail", 0.001), cell("inconclusive", 0.02, weak=True)], 0.05)
    assert weak.verdict == "inconclusive"
    first, second = corrected([cell("inconclusive", 0.014), cell("inconclusive", 0.02)], 0.05)
    assert (first.verdict, second.verdict) == ("inconclusive", "inconclusive")


@pytest.mark.parametrize(("n", "ends"), [(1, (0, 510)), (5, (0, 510)), (6, (1, 6)), (9, (2, 8))])
def test_the_interval_of_a_median_covers_95_percent_or_all_that_is_possible(n, ends):
    """The extremes of five values have the median between them with 1 - 2 / 2^5 = 93.75%, of six with 96.9%."""
    found = median(np.arange(1.0, n + 1), 0, 510)
    assert (found.low, found.high) == ends
