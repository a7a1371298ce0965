import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.overlap import familiarity, fisher, split

TABLES = [
    [[3, 1], [1, 3]],
    [[0, 5], [7, 0]],
    [[12, 40], [30, 55]],
    [[5, 5], [5, 5]],
    [[0, 9], [0, 4]],
    [[1, 0], [0, 1]],
]


@pytest.mark.parametrize("table", [*TABLES, [[240, 10], [3400, 350]]])
def test_the_p_value_is_that_of_fishers_exact_test(table):
    (a, b), (c, d) = table
    assert fisher(a, a + b, a + c, a + b + c + d) == pytest.approx(fisher_exact(table).pvalue, rel=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_removing_overlap_changes_the_accuracy_by_what_it_says(images):
    correct, marks = (np.array(column) for column in zip(*images, strict=True))
    if marks.all() or not marks.any():
        return
    parts = split(correct, marks)
    assert parts.removed.value == pytest.approx(correct.mean() - correct[~marks].mean())
    assert parts.removed.low <= parts.removed.value <= parts.removed.high
    assert 0 <= parts.p <= 1


def test_the_test_of_the_difference_is_the_permutation_test_of_the_marks():
    rng = np.random.default_rng(0)
    correct, marks = rng.random(60) < 0.6, np.arange(60) < 20
    correct[:20] |= rng.random(20) < 0.7
    observed = abs(correct.mean() - correct[~marks].mean())
    drawn = [abs(correct.mean() - correct[~rng.permutation(marks)].mean()) >= observed - 1e-12 for _ in range(20_000)]
    assert split(correct, marks).p == pytest.approx(np.mean(drawn), abs=0.02)


def test_false_alarms_of_the_difference_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(1)
    rejected = covered = 0
    for _ in range(400):
        correct, marks = rng.random(300) < 0.8, rng.random(300) < 0.25
        parts = split(correct, marks)
        rejected += parts.p <= 0.05
        covered += parts.removed.low <= 0 <= parts.removed.high
    assert rejected <= 28  # 20 are expected at most
    assert covered >= 372


def test_of_videos_they_are_so_too_where_whole_videos_overlap():
    """60 videos of five frames that are right or wrong together; taken for 300 images they raise many more."""
    rng, videos = np.random.default_rng(2), np.repeat(np.arange(60), 5)
    clusters = Clusters.of([(str(video),) for video in videos])
    alarms = []
    for _ in range(300):
        correct, marks = (rng.random(60) < 0.7)[videos], (rng.random(60) < 0.4)[videos]
        parts = split(correct, marks, clusters), split(correct, marks)
        alarms.append([each for p in parts for each in (p.p <= 0.05, not p.removed.low <= 0 <= p.removed.high)])
    of_clusters, of_images = np.mean(alarms, 0).reshape(2, 2)
    assert (of_clusters <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)).all(), of_clusters
    assert (of_images > 0.2).all(), of_images
    few = Clusters.of([(str(video),) for video in np.repeat(np.arange(20), 15)])
    assert split(np.arange(300) < 150, np.arange(300) < 150, few).p == 1


def test_familiarity_of_videos_knows_less_than_that_of_as_many_images():
    rng, videos = np.random.default_rng(0), np.repeat(np.arange(200), 5)
    ours, theirs, marks = ((rng.random(200) < share)[videos] for share in (0.8, 0.7, 0.4))
    clusters = Clusters.of([(str(video),) for video in videos])
    of_videos, of_images = familiarity(ours, theirs, marks, clusters), familiarity(ours, theirs, marks)
    assert of_videos.value == of_images.value
    assert of_videos.high - of_videos.low > 2 * (of_images.high - of_images.low)


def test_familiarity_is_nothing_where_images_are_easy_for_everyone():
    rng = np.random.default_rng(0)
    marks = rng.random(4000) < 0.3
    easy = np.where(marks, 0.95, 0.7)
    ours, theirs = rng.random(4000) < easy, rng.random(4000) < easy
    same = familiarity(ours, theirs, marks)
    assert same.low < 0 < same.high
    remembered = familiarity(ours | marks, theirs & ~(marks & (rng.random(4000) < 0.2)), marks)
    assert remembered.low > 0
