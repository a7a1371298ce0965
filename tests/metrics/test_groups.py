"""The worst of several groups, and the worst classes: chosen, and still told with the right certainty."""

import numpy as np
import pytest

from clip_robustness.metrics import evidence
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.groups import (
    Group,
    groups_of,
    halves,
    of_worst_classes,
    worst_classes,
    worst_group,
    worst_group_at_least,
)
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.metrics.outcomes import Outcomes


def of(shares, n=50):
    """Outcomes of groups one after the other, and the groups."""
    correct = np.concatenate([np.arange(n) < round(share * n) for share in shares])
    groups = [Group(str(i), np.repeat(np.arange(len(shares)) == i, n)) for i in range(len(shares))]
    return correct, groups


def test_evidence_of_groups_by_hand():
    """Three times the least p-value of a violation, the largest of a compliance."""
    correct, groups = of([0.7, 0.6, 0.9])
    tails = [evidence.share(correct[g.chosen], 0.72) for g in groups]
    found = worst_group_at_least(correct, groups, 0.72)
    assert found.p_violation == pytest.approx(min(1, 3 * tails[1].p_violation))
    assert found.p_compliance == pytest.approx(tails[1].p_compliance)
    assert worst_group_at_least(correct, groups, 0.2).p_violation == 1


def test_a_tenth_of_the_classes_and_at_least_one_are_the_worst():
    """By the images that choose, those of ties in order; the first half is the larger one."""
    for classes, worst in ((4, 1), (14, 1), (16, 2), (30, 3)):
        labels, ids = np.repeat(np.arange(classes), 5), [str(i) for i in range(5 * classes)]
        chosen = worst_classes(ids, labels, np.ones(5 * classes, bool), None)
        assert sorted(set(labels[chosen].tolist())) == list(range(worst))
        assert chosen.sum() == 2 * worst
        first = halves(ids, labels, None)
        assert np.bincount(labels[first]).tolist() == [3] * classes


def test_clusters_are_not_torn_apart_and_classes_of_one_image_do_not_judge():
    videos = np.repeat(np.arange(40), 3)
    clusters = Clusters.of([(str(video),) for video in videos])
    first = halves([str(i) for i in range(120)], np.zeros(120, int), clusters)
    assert first.reshape(40, 3).sum(1).tolist() == [3 * whole for whole in first[::3].tolist()]
    assert first.sum() == 60
    alone = Outcomes(("a", "b"), np.array([0, 1]), np.array([0, 0]), np.array([True, False]))
    assert of_worst_classes(alone) is None
    labels = np.zeros(120, int)
    whole = Outcomes(tuple(map(str, range(120))), labels, labels, labels == 0, clusters=clusters)
    correct, of_half = of_worst_classes(whole)
    assert (len(correct), of_half.count) == (60, 20)


def test_groups_of_a_few_images_are_not_looked_at():
    names = [("dark", "small")] * 9 + [("dark",)] + [()] * 8
    (group,) = groups_of(names)
    assert (group.name, group.chosen.sum()) == ("dark", 10)


def test_the_worst_is_named_and_its_upper_end_accounts_for_the_others():
    correct, groups = of([0.8, 0.5, 0.7, 0.9])
    worst = worst_group(correct, groups)
    alone = accuracy(correct[groups[1].chosen])
    assert (worst.name, worst.n, worst.estimate.value) == ("1", 50, 0.5)
    assert worst.estimate.low == alone.low
    assert worst.estimate.high == accuracy(correct[groups[1].chosen], None, 4).high > alone.high


def test_groups_of_clusters_are_told_with_what_clusters_tell():
    """Forty clusters of five, a group each half; the second is right in fewer."""
    clusters = Clusters.of([(str(i // 5),) for i in range(400)])
    correct = np.repeat([True, False, True, False], [150, 50, 100, 100])
    groups = [Group(name, np.arange(400) // 200 == half) for half, name in enumerate(("first", "second"))]
    inside = groups[1].chosen
    worst = worst_group(correct, groups, clusters)
    assert worst.estimate.low == accuracy(correct[inside], clusters[inside]).low
    assert worst.estimate.high == accuracy(correct[inside], clusters[inside], 2).high
    tails = [evidence.share(correct[g.chosen], 0.7, clusters[g.chosen]) for g in groups]
    found = worst_group_at_least(correct, groups, 0.7, clusters)
    assert found.p_violation == 2 * tails[1].p_violation < 1
    assert found.p_compliance == tails[1].p_compliance < 1


@pytest.mark.parametrize("bound", [0.3, 0.5, 0.62])
def test_one_group_is_an_accuracy(bound):
    from clip_robustness.metrics.evidence import share

    correct, groups = of([0.6])
    assert worst_group(correct, groups).estimate == accuracy(correct)
    assert worst_group_at_least(correct, groups, bound) == share(correct, bound)


def test_all_groups_have_to_show_it_and_one_can_break_it():
    correct, groups = of([0.96, 0.96, 0.2])
    broken = worst_group_at_least(correct, groups, 0.6)
    assert broken.p_violation < 1e-6
    assert broken.p_compliance > 0.99
    correct, groups = of([0.96, 0.96, 0.96])
    kept = worst_group_at_least(correct, groups, 0.6)
    assert kept.p_compliance < 1e-6


def test_the_interval_covers_the_worst_of_equal_groups():
    """Where all are alike, the smallest of twelve is far too small: only the interval of all covers the truth."""
    rng, covered, alone = np.random.default_rng(0), 0, 0
    _, groups = of([0] * 12, n=40)
    for _ in range(200):
        correct = rng.random(480) < 0.7
        worst = worst_group(correct, groups)
        covered += worst.estimate.low <= 0.7 <= worst.estimate.high
        alone += accuracy(correct[groups[int(worst.name)].chosen]).high >= 0.7
    assert alone / 200 < 0.95
    assert covered / 200 >= 0.95


def test_the_worst_classes_are_chosen_on_other_images():
    """All classes alike: what is chosen as the worst is as good as the others on the half that did not choose, on
    average over draws, within three standard errors; on all images the worst five would seem far worse."""
    labels = np.repeat(np.arange(50), 40)
    ids = [str(i) for i in range(2000)]
    found, naive = [], []
    for seed in range(60):
        correct = np.random.default_rng(seed).random(2000) < 0.7
        chosen = worst_classes(ids, labels, correct, None)
        assert len(np.unique(labels[chosen])) == 5
        assert chosen.sum() == 100
        found.append(correct[chosen].mean())
        naive.append(np.sort(correct.reshape(50, 40).mean(1))[:5].mean())
    assert abs(np.mean(found) - 0.7) < 3 * np.sqrt(0.7 * 0.3 / 100 / 60)
    assert np.mean(naive) < 0.6


def test_bad_classes_are_found():
    labels = np.repeat(np.arange(20), 20)
    correct = labels != 7
    chosen = worst_classes([str(i) for i in range(400)], labels, correct, None)
    assert not correct[chosen].all()
    assert 7 in labels[chosen]
