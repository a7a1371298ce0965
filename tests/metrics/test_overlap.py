import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom, t

from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.intervals import accuracy, paired_difference, unpaired_difference
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


@pytest.mark.parametrize(("good", "drawn", "total"), [(5, 4, 9), (7, 7, 8), (1, 3, 4), (6, 6, 12)])
def test_the_p_value_adds_up_all_that_is_no_more_likely(good, drawn, total):
    """Of every table with these margins, ties among them."""
    for marked in range(max(0, drawn + good - total), min(drawn, good) + 1):
        likelihoods = hypergeom.pmf(np.arange(total + 1), total, good, drawn)
        expected = likelihoods[likelihoods <= likelihoods[marked] * (1 + 1e-9)].sum()
        assert fisher(marked, drawn, good, total) == pytest.approx(expected)


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


@pytest.fixture(scope="module", params=["images", "videos"])
def case(request):
    """What two models get right of 200 images, which of these overlap, and their clusters."""
    rng = np.random.default_rng(3)
    if request.param == "images":
        return rng.random(200) < 0.7, rng.random(200) < 0.6, rng.random(200) < 0.3, None
    ours, theirs, marks = ((rng.random(100) < share).repeat(2) for share in (0.7, 0.6, 0.4))
    ours = ours ^ (rng.random(200) < 0.1)
    return ours, theirs, marks, Clusters.of([(str(i // 2),) for i in range(200)])


def test_a_split_is_of_the_parts_and_their_difference_by_the_share_that_overlaps(case):
    ours, _, marks, clusters = case
    inside, outside = (clusters and clusters[chosen] for chosen in (marks, ~marks))
    found, gap = split(ours, marks, clusters), unpaired_difference(ours[marks], ours[~marks], inside, outside)
    assert found.rate == accuracy(marks, clusters)
    assert found.all == accuracy(ours, clusters)
    assert (found.overlapping, found.clean) == (accuracy(ours[marks], inside), accuracy(ours[~marks], outside))
    ends = np.array([gap.value, gap.low, gap.high]) * marks.mean()
    assert (found.removed.value, found.removed.low, found.removed.high) == pytest.approx(tuple(ends))
    scores = (marks - marks.mean()) * (ours - ours.mean())
    if clusters:
        of = effect(scores, clusters)
        statistic = abs(scores.mean()) / (scores.std(ddof=1) * np.sqrt(of.deff / 200))
        assert found.p == pytest.approx(2 * t.sf(statistic, of.df))


def test_familiarity_is_a_difference_of_differences(case):
    """Its ends are as far away as those of both differences, squared and summed up."""
    ours, theirs, marks, clusters = case
    one, other = (paired_difference(ours[m], theirs[m], clusters and clusters[m]) for m in (marks, ~marks))
    found = familiarity(ours, theirs, marks, clusters)
    assert found.value == one.value - other.value
    reach = np.sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    other_reach = np.sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + other_reach))


def test_where_all_are_right_marks_of_videos_tell_nothing():
    clusters = Clusters.of([(str(i // 2),) for i in range(200)])
    assert split(np.ones(200, bool), np.arange(200) < 60, clusters).p == 1


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
