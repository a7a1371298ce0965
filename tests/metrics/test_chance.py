"""Accuracies that are none: what guessing gives, what a constant answer gives, and which labels would explain it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm, t

from clip_robustness.metrics.chance import (
    Answers,
    Standing,
    another_order,
    far_better,
    guessed,
    likeliest,
    relabellings,
    standing,
)
from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.trend import far_below, published

RNG = np.random.default_rng(0)
WORDS = ("zebra", "dog", "cat", "cow", "ant", "fox", "owl", "elk", "bee", "eel", "hen", "jay")
NAMES = [f"{word} {i}" for i, word in enumerate(WORDS)]


def answers(predictions, labels, classes):
    accepted = np.asarray(labels, np.int64)
    accepted = accepted[:, None] if accepted.ndim == 1 else accepted
    return Answers(np.asarray(predictions, np.int64), accepted, guessed(accepted, [1] * classes))


def seen(labels, accuracy, classes):
    """Predictions that are right for a share of the images, and any class for the others."""
    return np.where(RNG.random(len(labels)) < accuracy, labels, RNG.integers(0, classes, len(labels)))


def status(*given):
    return standing(answers(*given)).status


def test_guessing_is_at_chance_and_a_weak_model_is_not():
    labels = np.arange(5000) % 1000
    assert status(RNG.integers(0, 1000, 5000), labels, 1000) == "at"
    assert status((labels + 1) % 1000, labels, 1000) == "at"
    assert status(seen(labels, 0.03, 1000), labels, 1000) == "above"
    said = standing(answers((labels + 1) % 1000, labels, 1000)).reason
    assert said == "0 of 5000 images are right, not clearly above chance (guessing gets 0.1%)"


def of_videos(videos, frames, right, classes=4):
    """Videos of frames that are all right or all wrong; labels differ within a video."""
    labels = np.arange(videos * frames) % classes
    told = answers(np.where(np.repeat(right, frames), labels, (labels + 1) % classes), labels, classes)
    return replace(told, clusters=Clusters.of([(str(i),) for i in np.repeat(np.arange(videos), frames)]))


def test_frames_of_a_video_are_no_independent_evidence():
    some = of_videos(30, 10, np.arange(30) < 12)
    assert standing(replace(some, clusters=None)).status == "above"
    assert standing(some) == Standing(
        "few", "120 of 300 images are right, of 30 clusters: too few to tell a model from chance (guessing gets 25%)"
    )
    assert standing(of_videos(30, 10, np.arange(30) < 24)).status == "above"
    assert standing(of_videos(10, 10, np.arange(10) < 9)).status == "above"  # by the bound where clusters are few
    assert standing(of_videos(30, 10, np.arange(30) < 6)).status == "at"


def test_a_constant_answer_is_at_chance_on_videos_too():
    """Nine tenths of 60 videos are of one class, and so are all answers; or those of the tenth are told."""
    labels = np.repeat(np.arange(60) >= 54, 5).astype(int)
    clusters = Clusters.of([(str(i // 5),) for i in range(300)])
    assert standing(replace(answers(labels * 0, labels, 1000), clusters=clusters)).status == "at"
    assert standing(replace(answers(labels, labels, 1000), clusters=clusters)).status == "above"


def test_of_each_cluster_the_first_image_counts_in_the_way_with_the_fewest():
    """Three clusters the one way, four the other."""
    ways = [(a, b) for a, b in zip("xxyyzz", "ppqqrs", strict=True)]
    told = replace(answers(range(6), [0, 9, 2, 9, 9, 5], 10), clusters=Clusters.of(ways))
    assert (told.one_each.predictions.tolist(), told.one_each.accepted.tolist()) == ([0, 2, 4], [[0], [2], [9]])
    assert told.one_each.clusters is None
    assert replace(told, clusters=None).one_each.predictions.tolist() == list(range(6))


def test_guessing_video_by_video_passes_for_more_as_seldom_as_alpha_says():
    guesses = [of_videos(60, 20, RNG.random(60) < 0.25) for _ in range(300)]
    assert sum(standing(told).status == "above" for told in guesses) <= 2
    assert sum(standing(replace(told, clusters=None)).status == "above" for told in guesses) > 30


def test_what_a_few_videos_say_of_labels_is_no_more_than_so_many_images_would():
    labels, keys = np.arange(60) % 12, [str(i) for i in range(12)]
    wrong = answers((labels - 1) % 12, labels, 12)
    assert likeliest(wrong, NAMES, keys)
    six = Clusters.of([(str(i // 10),) for i in range(60)])
    assert likeliest(replace(wrong, clusters=six), NAMES, keys) is None


def test_guessing_passes_for_more_as_seldom_as_alpha_says():
    labels = np.arange(100) % 10
    passed = sum(status(RNG.integers(0, 10, 100), labels, 10) == "above" for _ in range(1000))
    assert passed <= 5  # of 1 that is expected


def test_of_a_thousand_classes_three_right_in_ten_are_enough_and_two_are_not():
    labels = np.arange(10)
    assert status([0, 1, 2, *range(503, 510)], labels, 1000) == "above"
    assert status([0, 1, *range(502, 510)], labels, 1000) == "at"


def test_a_point_above_guessing_is_at_chance_on_any_number_of_images():
    """As the labels that numbers sorted as strings leave where they are, and neighbours that look alike."""
    labels = np.arange(50_000) % 1000
    assert status(np.where(np.arange(50_000) % 100 == 0, labels, (labels + 1) % 1000), labels, 1000) == "at"


@pytest.mark.parametrize(
    ("n", "classes", "expected"), [(10, 2, "few"), (11, 2, "above"), (2, 10, "few"), (2, 52, "above")]
)
def test_too_few_images_are_called_that_even_if_all_are_right(n, classes, expected):
    labels = np.arange(n) % classes
    assert status(labels, labels, classes) == expected
    assert status((labels + 1) % classes, labels, classes) == ("few" if expected == "few" else "at")


def test_a_constant_answer_is_at_chance_however_frequent_its_class_is():
    labels = np.repeat([0, 1], [90, 10])
    said = standing(answers(np.zeros(100), labels, 1000))
    assert (said.status, said.reason) == (
        "at",
        "90 of 100 images are right, but 100 answers are one class, whatever the image",
    )
    nearly = np.where(RNG.random(100) < 0.9, 0, 7)
    assert status(nearly, labels, 1000) == "at"


def test_a_model_that_tells_the_rare_class_is_above_chance_although_less_often_right_than_a_constant_answer():
    labels = np.repeat([0, 1], [90, 10])
    assert status([*[0] * 76, *[5] * 14, *[1] * 8, 0, 0], labels, 1000) == "above"


def test_images_of_one_class_cannot_tell_a_constant_answer():
    assert status([3] * 20, [3] * 20, 1000) == "above"
    assert status([4] * 20, [3] * 20, 1000) == "at"


def test_guessing_hits_unions_and_second_labels_more_often():
    one, two = np.array([[0], [1]]), np.array([[0, 1], [1, -1]])
    assert guessed(one, [3, 1]) == 0.5
    assert guessed(one, [3, 1, 4]) == 0.25
    assert guessed(two, [1, 1, 2]) == (2 / 4 + 1 / 4) / 2
    assert Answers(np.array([1, 0]), two, 0.0).correct.tolist() == [True, False]


def shifted(labels):
    return labels + 1


def as_strings(labels):
    return np.array([sorted(map(str, range(len(NAMES)))).index(str(label)) for label in labels])


def by_name(labels):
    return np.array([sorted(NAMES).index(NAMES[label]) for label in labels])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (shifted, "shifted by one (as if numbered from 1)"),
        (lambda labels: labels - 1, "shifted by one (as if the first class were left out)"),
        (as_strings, "numbers sorted as strings"),
        (by_name, "alphabetical order of the class names"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_relabelling_that_explains_it_is_named(wrong, says, swapped):
    """The other way round it is the model's classes that have this order."""
    true = 1 + np.arange(100) % (len(NAMES) - 2)
    predictions = np.where(np.arange(100) % 5, true, 0)
    pair = (wrong(predictions), true) if swapped else (predictions, wrong(true))
    keys = [f"k{i:02d}" for i in range(len(NAMES))]
    what, accuracy = likeliest(answers(*pair, len(NAMES)), NAMES, keys)
    assert says in what or (swapped and "shifted by one" in what)
    assert accuracy == pytest.approx(0.8, abs=0.03)


def test_right_labels_and_few_images_have_no_better_ones():
    keys = [f"k{i:02d}" for i in range(len(NAMES))]
    true = np.arange(100) % len(NAMES)
    assert likeliest(answers(seen(true, 0.3, 12), true, 12), NAMES, keys) is None
    assert likeliest(answers([1, 2, 3], [2, 3, 4], 12), NAMES, keys) is None


def test_a_part_of_the_labels_is_noticed():
    true = np.arange(300) % 11
    labels = np.where(np.arange(300) % 10 < 6, true + 1, true)
    what, accuracy = likeliest(answers(true, labels, 12), NAMES, NAMES)
    assert "numbered from 1" in what
    assert accuracy == pytest.approx(0.6)


def test_relabellings_are_tried_once_each_and_those_by_name_are_orders():
    found = list(relabellings(NAMES, [str(i) for i in range(12)]))
    assert len({tuple(intended.tolist()) for _, intended in found}) == len(found) == 6
    assert all(sorted(intended.tolist()) == list(range(12)) for what, intended in found if "shifted" not in what)


def test_another_order_is_found_on_images_that_it_was_not_chosen_on():
    order = RNG.permutation(100)
    true = np.arange(1000) % 100
    found = another_order(answers(seen(true, 0.8, 100), order[true], 100), at_least=0.6)
    assert found == pytest.approx(0.8, abs=0.05)
    guesses = answers(RNG.integers(0, 100, 1000), order[true], 100)
    assert another_order(guesses, at_least=0.0) is None
    one_each = answers(np.arange(100), order, 100)
    assert another_order(one_each, at_least=0.0) is None


@pytest.mark.parametrize(
    ("won", "lost", "n", "expected"),
    [
        (9, 0, 60, False),  # 2^-9 is more than a thousandth
        (10, 0, 60, True),
        (22, 5, 60, True),
        (21, 6, 60, False),  # 0.003
        (160, 60, 1000, True),
        (159, 60, 1000, False),  # a point too few
        (60, 160, 1000, False),
    ],
)
def test_far_better_is_ten_points_and_a_sign_test_of_a_thousandth(won, lost, n, expected):
    first, second = np.arange(n) < n - lost, (np.arange(n) < n - lost - won) | (np.arange(n) >= n - lost)
    p = binomtest(lost, won + lost, alternative="less").pvalue
    assert far_better(first, second) == (won - lost >= n // 10 and p <= 0.001) == expected


def test_far_better_on_clusters_is_by_effective_counts_and_the_bound_where_these_are_few():
    for count, won, lost, expected in ((40, 22, 2, True), (40, 15, 4, False), (20, 10, 0, True), (20, 9, 0, False)):
        which = np.repeat(np.arange(count), 5)
        clusters = Clusters.of([(str(i),) for i in which])
        first, second = which < won, (which >= count - lost)
        of, df = (effect(first.astype(int) - second, clusters).deff, count - 1) if count >= 30 else (5, np.inf)
        p = t.cdf(norm.ppf(beta.sf(0.5, 5 * lost / of + 1, 5 * won / of)), df)
        assert far_better(first, second, clusters) == (p <= 0.001) == expected, p


def right(share, n):
    return np.arange(n) < share * n


@pytest.mark.parametrize(
    ("shift", "clean", "shifted", "far"),
    [
        ("imagenet-v2", 0.7613, 0.6333, False),  # ResNet-50 of torchvision, imagenet-testbed
        ("imagenet-v2", 0.7613, 0.5, True),  # with a fifth of the labels wrong
        ("imagenet-v2", 0.7613, 0.005, True),
        ("imagenet-a", 0.9186, 0.0, False),  # ResNet-50, against which the set was filtered
        ("imagenet-a", 0.9783, 0.005, True),
        ("imagenet-sketch", 0.7613, 0.2409, False),
        ("objectnet", 0.7886, 0.3575, False),
        ("objectnet", 0.7886, 0.01, True),
        ("imagenet-r", 0.9320, 0.3039, False),  # BiT-M, the furthest below the trend that is published
    ],
)
def test_only_what_no_published_model_shows_is_implausible(shift, clean, shifted, far):
    assert far_below(published(shift), right(shifted, 7500), right(clean, 10000)) == far


def test_few_images_are_not_implausible():
    assert not far_below(published("imagenet-v2"), right(0.25, 8), right(0.75, 8))
