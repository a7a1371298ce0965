"""What the images of a cell say of each limit that a rule can set: one function, one registration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip_robustness import registry
from clip_robustness.conditions.condition import Condition, reference
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics import evidence, groups
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.corruption import Errors, mce
from clip_robustness.metrics.intervals import Estimate, accuracy, mean, median, paired_difference, unpaired_difference
from clip_robustness.metrics.outcomes import NEVER, Outcomes, Paired
from clip_robustness.metrics.seeds import image_of
from clip_robustness.metrics.trend import Trend, effective_robustness, fit, published
from clip_robustness.registry import limit
from clip_robustness.suites.rules import Limit
from clip_robustness.verdicts.judge import Evidence
from clip_robustness.verdicts.regression import Pairs


@dataclass(frozen=True)
class Look:
    """A candidate's outcomes on images of a cell. `pairs` are its own and the baseline's on common images, `before`
    those of a recorded run, or why there are none."""

    session: Session
    cell: Cell
    images: Dataset
    ours: Outcomes
    pairs: Paired | None
    before: Pairs | str | None

    @property
    def condition(self) -> Condition:
        return self.cell.condition

    @property
    def clusters(self) -> Clusters | None:
        """Which of the images belong together."""
        return self.ours.clusters

    def mean_at_most(self, what: str, values: NDArray[np.float64], bound: float) -> Evidence:
        """Of figures of each image (n,), whose mean is to be at most `bound`: Student's t test."""
        return _mean_at_most(what, values, bound, self.clusters)

    def mean_at_least(self, what: str, values: NDArray[np.float64], bound: float) -> Evidence:
        """The same where it is to be at least `bound`."""
        found = self.mean_at_most(what, values, bound)
        return replace(found, tail=found.tail.mirrored(), at_least=True)


def _mean_at_most(what: str, values: NDArray[np.float64], bound: float, clusters: Clusters | None) -> Evidence:
    tail, estimate = evidence.mean_at_most(values, bound, clusters), mean(values, clusters)
    return Evidence(what, bound, estimate, tail, len(values), at_least=False, signed=False, clusters=clusters)


@dataclass(frozen=True)
class MeanLook:
    """Of a mean over cells: corruption -> errors (5, n) on the images that all of them have."""

    errors: Mapping[str, Errors]
    clusters: Clusters | None


def found(look: Look | MeanLook, limit: Limit) -> Evidence | str:
    """What a look says of a limit."""
    entry = registry.find("limit", limit.name)
    evidence: Evidence | str = entry.function(look, limit.value)
    return evidence if isinstance(evidence, str) else replace(evidence, limit=limit.name, unit=entry.options["unit"])


@limit(
    "min_accuracy", low=0, high=1,
    about="the accuracy is at least so much",
    unit="points",
)  # fmt: skip
def min_accuracy(look: Look, bound: float) -> Evidence:
    correct, clusters = look.ours.correct, look.clusters
    estimate, tail = accuracy(correct, clusters), evidence.share(correct, bound, clusters)
    return Evidence("accuracy", bound, estimate, tail, len(correct), signed=False, clusters=clusters)


@limit(
    "max_drop_vs_supervised", low=0, high=1, not_for=("averages", "zero_shot_only"),
    about="at most so much below the supervised baseline",
    unit="points",
)  # fmt: skip
def max_drop_vs_supervised(look: Look, bound: float) -> Evidence | str:
    return _drop("max_drop_vs_supervised", look, bound)


@limit(
    "min_drop_vs_supervised", low=0, high=1, not_for=("averages", "zero_shot_only"),
    about="at least so much below the supervised baseline: a claim to check",
    unit="points",
)  # fmt: skip
def min_drop_vs_supervised(look: Look, bound: float) -> Evidence | str:
    """That the candidate is worse: no requirement, but a claim to check."""
    found = _drop("min_drop_vs_supervised", look, bound)
    return found if isinstance(found, str) else replace(found, tail=found.tail.mirrored(), at_least=False)


def _drop(name: str, look: Look, bound: float) -> Evidence | str:
    if look.pairs is None:
        return f"{name} needs a baseline; give one with --supervised"
    return _paired("difference to the supervised baseline", look.pairs, bound)


def _paired(what: str, pairs: Paired, bound: float) -> Evidence:
    tail = evidence.paired(pairs.first, pairs.second, -bound, pairs.clusters)
    return Evidence(what, -bound, paired_difference(*pairs), tail, len(pairs.first), clusters=pairs.clusters)


@limit(
    "max_drop_vs_clean", low=0, high=1, not_for=("averages", "is_reference"),
    about="at most so much below the clean images",
    unit="points",
)  # fmt: skip
def max_drop_vs_clean(look: Look, bound: float) -> Evidence:
    """On the same images where the condition has them, too."""
    correct, clean = look.ours.correct, look.session.on_reference(look.cell.candidate, look.condition)
    what = "difference to the clean images"
    if pairs := _of_reference(look.condition, look.ours, clean):
        return _paired(what, pairs, bound)
    tail = evidence.unpaired(correct, clean.correct, -bound, look.clusters, clean.clusters)
    estimate = unpaired_difference(correct, clean.correct, look.clusters, clean.clusters)
    return Evidence(what, -bound, estimate, tail, len(correct), clusters=look.clusters)


def gap(condition: Condition, ours: Outcomes, clean: Outcomes) -> Estimate:
    """The difference to the clean reference, on pairs of images where it has them."""
    if pairs := _of_reference(condition, ours, clean):
        return paired_difference(*pairs)
    return unpaired_difference(ours.correct, clean.correct, ours.clusters, clean.clusters)


def _of_reference(condition: Condition, ours: Outcomes, clean: Outcomes) -> Paired | None:
    """What is right of an image, and of the same one or its partner in the clean reference; None where none is."""
    if condition.data != reference(condition).data:
        return None
    pairs = on_common_images(*(_by_pair(condition.kind.pair_by, outcomes) for outcomes in (ours, clean)))
    return pairs if len(pairs.first) else None


def _by_pair(pattern: str, outcomes: Outcomes) -> Outcomes:
    """Under the names of pairs instead of ids."""
    named = [re.search(pattern, id) for id in outcomes.ids] if pattern else []
    ids = tuple(name[1] if name else id for name, id in zip(named, outcomes.ids, strict=bool(pattern)))
    return replace(outcomes, ids=ids or outcomes.ids)


@limit(
    "min_effective_robustness", low=-1, high=1, only_for="is_shift",
    about="at least so much above the trend of other models (natural shifts)",
    unit="points",
)  # fmt: skip
def min_effective_robustness(look: Look, bound: float) -> Evidence | str:
    trend = _trend(look)
    if trend is None:
        return (
            "min_effective_robustness needs a trend: a published one, over ImageNet's classes, or three supervised "
            "baselines, not all of the same clean accuracy"
        )
    correct, clean = look.ours.correct, look.session.on_reference(look.cell.candidate, look.condition)
    of, scatter = (look.clusters, clean.clusters), look.session.settings.suite.gate.trend_interval == "prediction"
    tail = evidence.effective_robustness(trend, correct, clean.correct, bound, *of, scatter=scatter)
    estimate = effective_robustness(trend, correct, clean.correct, *of, scatter=scatter)
    what = f"effective robustness ({trend.source}{', among single models' if scatter else ''})"
    return Evidence(what, bound, estimate, tail, len(correct), clusters=look.clusters)


@limit(
    "max_mce", low=0, high=3, only_for="is_mce", not_for=(),
    about="the mean corruption error, relative to AlexNet's 1 (imagenet-c-mce)",
    unit="points",
)  # fmt: skip
def max_mce(look: MeanLook, bound: float) -> Evidence:
    """Relative to AlexNet's 1, not percent."""
    return _mean_at_most("mCE", mce(look.errors), bound, look.clusters)


@limit(
    "max_flip_rate", low=0, high=1, only_for="is_sequence",
    about="the flip probability (sequences of imagenet-p)",
    unit="points",
)  # fmt: skip
def max_flip_rate(look: Look, bound: float) -> Evidence:
    flips = look.ours.measures[f"flips-{look.condition['difficulty']}"]
    return look.mean_at_most("flip probability", flips, bound)


@limit(
    "min_median_eps", low=0, high=255, only_for="searched",
    about='the median of the smallest eps, in 1/255 (attacks at eps = "min")', unit="/255",
)  # fmt: skip
def min_median_eps(look: Look, bound: float) -> Evidence:
    """In units of 1/255."""
    smallest, clusters = 255 * look.ours.measures["smallest_eps"], look.clusters
    tail, estimate = evidence.median_at_least(smallest, bound, clusters), median(smallest, 0, 255 * NEVER, clusters)
    what = "median of the smallest eps"
    return Evidence(what, bound, estimate, tail, len(smallest), signed=False, clusters=clusters)


@limit(
    "min_worst_factor", low=0, high=1,
    about="the accuracy in the worst group of images, where [groups] names some, is at least so much",
    unit="points",
)  # fmt: skip
def min_worst_factor(look: Look, bound: float) -> Evidence | str:
    """Of the factors of ImageNet-X, or of any groups: none is below the bound."""
    correct, clusters, found = look.ours.correct, look.clusters, groups.groups_of(look.ours.groups)
    if not found:
        return f"min_worst_factor needs groups of {groups.FEWEST} or more images; name them under [groups]"
    worst, tail = (
        groups.worst_group(correct, found, clusters),
        groups.worst_group_at_least(correct, found, bound, clusters),
    )
    what = f"accuracy in the worst of {len(found)} groups ({worst.name})"
    return Evidence(what, bound, worst.estimate, tail, worst.n, signed=False, clusters=clusters)


@limit(
    "min_worst_classes", low=0, high=1, not_for=("averages",),
    about="the accuracy of the worst tenth of the classes is at least so much",
    unit="points",
)  # fmt: skip
def min_worst_classes(look: Look, bound: float) -> Evidence | str:
    """One half of the images says which they are, the other how they are."""
    found = groups.of_worst_classes(look.ours)
    if found is None:
        return "min_worst_classes needs two or more images of a class"
    correct, clusters = found
    estimate, tail = accuracy(correct, clusters), evidence.share(correct, bound, clusters)
    what = "accuracy of the worst classes"
    return Evidence(what, bound, estimate, tail, len(correct), signed=False, clusters=clusters)


@limit(
    "max_template_spread", low=0, high=1, only_for="is_wording", not_for=("averages", "is_reference"),
    about="the worst of several wordings is at most so much below the best (text/...)",
    unit="points",
)  # fmt: skip
def max_template_spread(look: Look, bound: float) -> Evidence | str:
    """Both are chosen on the images that are left out."""
    best = look.ours.measures.get("best")
    if best is None:
        return "max_template_spread needs several wordings, this has one"
    return _paired("difference to the best wording", Paired(look.ours.correct, best > 0, look.clusters), bound)


@limit(
    "max_regression", low=0, high=1,
    about="at most so much below the recorded run (--compare)",
    unit="points",
)  # fmt: skip
def max_regression(look: Look, bound: float) -> Evidence | str:
    before = look.before
    if not isinstance(before, Pairs):
        return f"max_regression: {before}"
    tail = evidence.paired(before.now, before.then, -bound, before.clusters)
    n = len(before.ids)
    return Evidence("difference to the recorded run", -bound, before.difference, tail, n, clusters=before.clusters)


def _trend(look: Look) -> Trend | None:
    """The published one, over ImageNet's classes; else that of three or more baselines of the run."""
    session, condition, images = look.session, look.condition, look.images
    on_imagenet = session.settings.suite.classes == "imagenet"
    if on_imagenet and (trend := published(condition.id)):
        return trend
    if len(session.settings.supervised) < 3 or condition.kind.zero_shot_only:
        return None
    figures = [
        [session.outcomes(spec, c, seen).correct.mean() for spec in session.settings.supervised]
        for c, seen in ((reference(condition), None), (condition, images))
    ]
    try:
        return replace(fit(*figures), source=f"trend of {len(figures[0])} baselines of the run")
    except ValueError:
        return None


def on_common_images(first: Outcomes, second: Outcomes) -> Paired:
    """What both got right or wrong, for the images that both could read, in the order of the first. Several seeds of it
    are compared with the only one of the other."""
    right = dict(zip(second.ids, second.correct, strict=True))
    others = [id if id in right else image_of(id) for id in first.ids]
    common = np.array([id in right for id in others], bool)
    other = np.array([right[id] for id in others if id in right], bool)
    return Paired(first.correct[common], other, first.clusters[common] if first.clusters else None)
