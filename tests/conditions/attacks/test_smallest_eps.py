"""The search for the smallest eps: what it tries, what it finds, and what it remembers of an image."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_robustness.conditions.attacks.smallest_eps import Best, smallest_eps
from clip_robustness.datasets.dataset import Sample
from clip_robustness.metrics.outcomes import NEVER


def tried(threshold):
    """What the search tries, in 1/255, where all from the threshold on fool; and what it finds."""
    seen = []

    def trial(chosen, eps):
        seen.extend(255 * eps)
        return 255 * eps >= threshold, eps

    found = 255 * smallest_eps(trial, 1)[0]
    return seen, found


def test_what_stands_is_tried_at_four_times_as_much_up_to_the_largest():
    seen, found = tried(1000)
    assert seen == pytest.approx([2, 8, 32, 64])
    assert found == 255 * NEVER


def test_brackets_are_halved_at_their_geometric_middle_down_to_one_percent():
    """Between 4 and 5.66: 4.76, 5.19, ... until the ends, lo and hi, are so near that hi - lo <= 0.01 hi."""
    seen, found = tried(5)
    assert seen[:5] == pytest.approx([2, 8, 4, 4 * 2**0.5, 4 * 2**0.25])
    low, high = max(eps for eps in seen if eps < 5), min(eps for eps in seen if eps >= 5)
    assert high - low <= 0.01 * high
    assert found == pytest.approx((low * high) ** 0.5)
    *before, _ = seen
    low, high = max(eps for eps in before if eps < 5), min(eps for eps in before if eps >= 5)
    assert high - low > 0.01 * high


def test_what_any_eps_fools_is_halved_down_to_a_hundred_thousandth():
    seen, found = tried(0)
    assert seen == pytest.approx([2 / 2**i for i in range(11)])
    assert found == pytest.approx(2 / 2**10)
    assert found / 255 <= 1e-5 < 2 * found / 255


@settings(max_examples=20)
@given(st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=20))
def test_the_search_finds_any_threshold(thresholds):
    true = np.array(thresholds)
    sizes = []

    def trial(chosen, eps):
        sizes.append(len(chosen))
        return eps >= true[chosen], eps

    found = smallest_eps(trial, len(true))
    reachable = true <= 64 / 255
    assert (found[~reachable] == NEVER).all()
    assert found[reachable] == pytest.approx(true[reachable], rel=0.0051, abs=1e-5)
    assert len(sizes) < 25


def test_the_search_is_right_in_the_mean():
    """Neither too robust nor too little: thresholds at random places between the steps of the bisection."""
    true = 2.0 ** np.random.default_rng(0).uniform(-9, -3, 2000)
    found = smallest_eps(lambda chosen, eps: (eps >= true[chosen], eps), len(true))
    assert abs(np.log(found / true).mean()) < 0.0005


def test_what_fooled_with_less_than_was_refused_before_is_what_fooled():
    """An attack that is not monotone: refused at 2/255, and at 8/255 it finds a perturbation of 1/255."""
    found = smallest_eps(lambda chosen, eps: (eps > 3 / 255, np.full(len(eps), 1 / 255)), 1)
    assert found == pytest.approx(1 / 255)


def test_of_an_image_the_last_prediction_that_fooled_and_all_passes_count():
    best = Best(3, "queries")
    best.note(np.array([0, 2]), [5, 6], np.array([True, False]), [3, 4])
    best.note(np.array([0]), [7], np.array([False]), [2])
    batch = [(Sample(name, Path(name), 0), np.zeros((1, 1, 3), np.uint8)) for name in "abc"]
    answers = best.answers(batch, np.array([0.5, 0.0, NEVER]))
    assert [sample.id for sample, _ in answers] == ["a", "b", "c"]
    assert [answer.prediction for _, answer in answers] == [5, -1, -1]
    measures = [dict(answer.measures) for _, answer in answers]
    assert measures == [{"smallest_eps": e, "queries": q} for e, q in ((0.5, 5), (0, 0), (NEVER, 4))]
