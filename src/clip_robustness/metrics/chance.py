"""Is an accuracy one at all? Predictions that say no more of the images than guessing does, and what may be wrong.

Labels that are numbered in another way than the model's classes give every model an accuracy near chance: it is no
measurement, however narrow its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clip_robustness.metrics.binomial import at_most, more_than
from clip_robustness.metrics.clusters import Clusters, Effect, effect
from clip_robustness.metrics.intervals import Correct

ALPHA = 1e-3
"""The probability that guessing counts as more. Models of use are beyond it with a few images: of a thousand classes
three right in ten."""
_NEGLIGIBLE = 0.01
"""What is no more than so much above guessing is at chance, too: images enough make any difference significant."""
_DRAWS = 2000
_FAR_BETTER = 0.1

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of n images: `predictions` (n,), and `accepted` (n, m), the labels that count as right for each
    image, -1: none. `guessed` is the share of right answers that guessing, each of the model's classes alike, gives.
    `clusters` are which images belong together."""

    predictions: Labels
    accepted: Labels
    guessed: float
    clusters: Clusters | None = None

    @property
    def correct(self) -> Correct:
        return np.asarray((self.accepted == self.predictions[:, None]).any(1))

    def relabelled(self, intended: Labels) -> Answers:
        """The same where label i stands for class `intended[i]`, -1: for none."""
        return replace(self, accepted=np.where(self.accepted < 0, -1, intended[self.accepted]))

    @property
    def one_each(self) -> Answers:
        """To the first image of each cluster; of several ways to belong together that of the fewest clusters."""
        if self.clusters is None:
            return self
        first = np.unique(min(self.clusters.ways, key=lambda way: int(way.max())), return_index=True)[1]
        return Answers(self.predictions[first], self.accepted[first], self.guessed)


@dataclass(frozen=True)
class Standing:
    """Where an accuracy stands, and why in words. `few`: as many images could not show it even if all were right."""

    status: Literal["above", "at", "few"]
    reason: str


def guessed(accepted: Labels, sizes: Sequence[int]) -> float:
    """The accuracy of guessing among the model's classes, `sizes[label]` of which count as each label."""
    shares = np.array([*sizes, 0], float) / max(1, sum(sizes))
    return float(shares[accepted].sum(1).mean())


def standing(answers: Answers) -> Standing:
    """Whether the accuracy is clearly above chance, by the exact binomial test against a point more than guessing. What
    it is if images were independent, but not of effective counts, shows nothing: `few`.

    Where most answers are one class, a constant answer may be better than guessing: then they must also go with the
    images, by a test of permutations.
    """
    n, right = len(answers.predictions), int(answers.correct.sum())
    said, guessing = f"{right} of {n} images are right", f"guessing gets {100 * answers.guessed:.2g}%"
    chance = min(1.0, answers.guessed + _NEGLIGIBLE)
    if more_than(right - 1, n, chance) <= ALPHA:
        clusters, of = answers.clusters, _effect(answers.correct, answers.clusters)
        if clusters and of.p_value(float(more_than(of.count(right) - 1, of.count(n), chance))) > ALPHA:
            few = f"{said}, of {clusters.count} clusters: too few to tell a model from chance ({guessing})"
            return Standing("few", few)
        most = int(np.bincount(answers.predictions).max())
        if 2 * most > n and _may_be_constant(answers.one_each):
            return Standing("at", f"{said}, but {most} answers are one class, whatever the image")
        return Standing("above", said)
    if chance**n > ALPHA:
        return Standing("few", f"{n} images are too few to tell a model from chance ({guessing})")
    return Standing("at", f"{said}, not clearly above chance ({guessing})")


def _may_be_constant(answers: Answers) -> bool:
    """Whether the answers fit the images no better than they fit shuffled ones, where the labels themselves would."""
    true = Answers(answers.accepted[:, 0], answers.accepted, answers.guessed)
    return _shuffled(answers) > ALPHA >= _shuffled(true)


def _shuffled(answers: Answers) -> float:
    """The probability of as many right answers, if they were dealt to the images at random."""
    rng, right = np.random.default_rng(0), answers.correct.sum()
    dealt = (rng.permutation(answers.predictions) for _ in range(_DRAWS))
    as_many = sum(Answers(d, answers.accepted, answers.guessed).correct.sum() >= right for d in dealt)
    return float((1 + as_many) / (1 + _DRAWS))


def relabellings(names: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, Labels]]:
    """The ways in which labels of classes of these names and keys are often numbered, in words, and which class each
    label then stands for, -1: none."""
    count = len(keys)
    numbers = np.arange(count)
    yield "with labels shifted by one (as if numbered from 1)", numbers - 1
    yield "with labels shifted by one (as if the first class were left out)", np.append(numbers[1:], -1)
    orders = {
        "with labels in the order of numbers sorted as strings (0, 1, 10, ...)": [sorted(range(count), key=str)],
        "with labels in the alphabetical order of the class names": [
            sorted(range(count), key=[text(called) for called in every].__getitem__)
            for every in (names, keys)
            for text in (str, str.casefold)
        ],
    }
    seen = {tuple(range(count))}
    for what, found in orders.items():
        for order in (np.array(order, np.int64) for order in found):
            for intended in (order, np.argsort(order)):
                if tuple(intended.tolist()) not in seen:
                    seen.add(tuple(intended.tolist()))
                    yield what, intended


def likeliest(answers: Answers, names: Sequence[str], keys: Sequence[str]) -> tuple[str, float] | None:
    """The one of `relabellings` that is far better than the labels as they are, and its accuracy; None: none is."""
    tried = [(what, answers.relabelled(intended).correct) for what, intended in relabellings(names, keys)]
    own, clusters = answers.correct, answers.clusters
    better = [(what, float(right.mean())) for what, right in tried if far_better(right, own, clusters)]
    return max(better, key=lambda found: found[1], default=None)


def another_order(answers: Answers, at_least: float) -> float | None:
    """The accuracy with the labels in the order that fits best, where that is far better, and at least so much.

    Each half of a label's images is judged by the order that fits the other half, so that it is none by chance.
    """
    from scipy.optimize import linear_sum_assignment  # takes a while, and few runs need it

    labels, predictions = answers.accepted[:, 0], answers.predictions
    count = 1 + int(max(answers.accepted.max(), predictions.max()))
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own] = np.arange(len(own)) % 2
    right = np.zeros(len(labels), bool)
    for half in (0, 1):
        known, judged = turn != half, turn == half
        table = np.zeros((count, count))
        np.add.at(table, (labels[known], predictions[known]), 1)
        right[judged] = answers.relabelled(linear_sum_assignment(table, maximize=True)[1]).correct[judged]
    accuracy = float(right.mean())
    return accuracy if far_better(right, answers.correct, answers.clusters) and accuracy >= at_least else None


def far_better(first: Correct, second: Correct, clusters: Clusters | None = None) -> bool:
    """Whether the first is right ten points more often on the same images, and that is no chance (sign test)."""
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    of = _effect(first.astype(int) - second, clusters)
    p = of.p_value(float(at_most(of.count(lost), of.count(won + lost), 0.5)))
    return won - lost >= _FAR_BETTER * len(first) and p <= ALPHA


def _effect(scores: ArrayLike, clusters: Clusters | None) -> Effect:
    """Of clusters that are too few to know their variance the bound on it."""
    return Effect(clusters.most) if clusters and clusters.untrusted else effect(scores, clusters)
