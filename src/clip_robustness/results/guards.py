"""Checks on a run's own figures: what would show that a robust accuracy is wrong (Carlini et al. 2019).

Each guard compares cells of one model, and is broken only by what chance alone would do in 2.3% of the cases: by
McNemar's exact test where both are on the same images, of images that belong together by that of effective counts, as
verdicts are, else by two standard errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from clip_robustness import registry
from clip_robustness.conditions.catalogue import NAMES, WORST_OF, kind_of
from clip_robustness.conditions.condition import SEARCH
from clip_robustness.conditions.eps import parse_eps
from clip_robustness.conditions.kind import Kind
from clip_robustness.metrics import evidence
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import Correct
from clip_robustness.results.result import Result
from clip_robustness.results.results import Guard


@dataclass(frozen=True)
class _Flag:
    """A figure of a cell, as a share of its images, that must not be larger than `allowed`."""

    allowed: float
    claim: str
    doubt: str


_FLAGS = {
    "randomised": _Flag(0, "two forward passes agree", "the model is randomised, the attack does not average over it"),
    "probabilities": _Flag(0, "logits are no probabilities", "the model has probabilities for logits: losses saturate"),
    "optimises": _Flag(0, "inference takes no gradient", "the model computes gradients at inference"),
    "zero_gradients": _Flag(
        0.01, "gradients of {cell} are neither zero nor infinite", "gradients are zero or infinite: a sign of masking"
    ),
    "fooled_by_square_alone": _Flag(
        0.002, "square adds nothing to the gradients of {cell}", "square, which is blind, finds what gradients do not"
    ),
}
"""Those of AutoAttack (Croce & Hein 2020) among them, with its 0.2%."""
_BY_CHANCE = 0.02275
"""Beyond two standard errors."""


def of_cells(cells: Iterable[Result]) -> list[Guard]:
    """All guards that the attacks of a run allow."""
    by_model: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for cell in cells:
        if cell.family == "adversarial" and cell.accuracy is not None:
            by_model[cell.model, cell.role].append(cell)
    return [
        Guard(model, role, name, holds, detail)
        for (model, role), own in by_model.items()
        for name, holds, detail in (*_monotone(own), *_stronger(own), *_flagged(own))
    ]


def unknown_attacks(cells: Iterable[Result]) -> list[str]:
    """Those that nobody registered here: what their registrations say of others is no guard."""
    names = {cell.condition for cell in cells if cell.family == "adversarial"}
    ours = (*NAMES["adversarial"], WORST_OF)
    return sorted(name for name in names if name not in ours and not registry.knows("attack", name))


def _monotone(cells: list[Result]) -> Iterator[tuple[str, bool, str]]:
    """More room, fewer right."""
    curves: dict[tuple[object, ...], list[Result]] = defaultdict(list)
    for cell in cells:
        if _fixed(cell):
            curves[cell.condition, *_other_params(cell)].append(cell)
    for (name, *_), curve in curves.items():
        ordered = sorted(curve, key=lambda cell: parse_eps(str(cell.params["eps"])))
        for less, more in pairwise(ordered):
            yield (
                f"accuracy under {name} falls with eps",
                _at_most(more, less),
                f"{less.params['eps']}: {less.accuracy:.1%}, {more.params['eps']}: {more.accuracy:.1%}",
            )


def _stronger(cells: list[Result]) -> Iterator[tuple[str, bool, str]]:
    """More steps are not weaker than one, an ensemble not than its parts, who knows the model not than who does not."""
    for better in sorted({cell.condition for cell in cells}):
        for worse in _kind(better).stronger_than:
            knows = ", which knows the model," if _kind(worse).access == "black-box" else ""
            claim = f"{better}{knows} is at least as strong as {worse}"
            for strong, weak in _pairs(cells, better, worse):
                detail = f"at {strong.params['eps']}: {strong.accuracy:.1%}, {worse} {weak.accuracy:.1%}"
                yield claim, _at_most(strong, weak), detail


def _kind(name: str) -> Kind:
    """Of an attack; of one that is not installed here nothing is known."""
    return kind_of("adversarial", name) if registry.knows("attack", name) else Kind(name, "adversarial")


def _flagged(cells: list[Result]) -> Iterator[tuple[str, bool, str]]:
    """What is said of a model, whatever the cell, is said once."""
    told = set()
    for cell in cells:
        for figure, flag in _FLAGS.items():
            claim = flag.claim.format(cell=cell.label)
            if figure in cell.metrics and claim not in told:
                told.add(claim)
                share = cell.metrics[figure]
                yield (
                    claim,
                    share <= flag.allowed,
                    f"{share:.1%} of the images; more than {flag.allowed:.1%}: {flag.doubt}",
                )


def doubts(cell: Result) -> list[str]:
    """Why what an attack has left standing may not be robust."""
    return [flag.doubt for figure, flag in _FLAGS.items() if cell.metrics.get(figure, 0) > flag.allowed]


def _pairs(cells: list[Result], first: str, second: str) -> Iterator[tuple[Result, Result]]:
    """Cells of the two attacks with the same parameters, but for the number of queries, which only one of them has."""
    same: dict[object, list[Result]] = defaultdict(list)
    for cell in filter(_fixed, cells):
        if cell.condition == second:
            same[_ball(cell)].append(cell)
    for cell in filter(_fixed, cells):
        if cell.condition == first:
            yield from ((cell, other) for other in same[_ball(cell)])


def _ball(cell: Result) -> tuple[object, ...]:
    return tuple(sorted((key, value) for key, value in cell.params.items() if key != "pairs"))


def _fixed(cell: Result) -> bool:
    return cell.params.get("eps", SEARCH) != SEARCH and "eps" not in _kind(cell.condition).read_at


def _other_params(cell: Result) -> tuple[object, ...]:
    return tuple(value for key, value in cell.params.items() if key != "eps")


def _at_most(first: Result, second: Result) -> bool:
    """Whether the first accuracy is no higher than the second, but for chance."""
    assert first.accuracy is not None
    assert second.accuracy is not None
    if paired := _on_the_same_images(first, second):
        one, other, clusters = paired
        return evidence.paired(other, one, 0.0, clusters).p_violation > _BY_CHANCE
    middle = (first.accuracy + second.accuracy) / 2
    error = sqrt(middle * (1 - middle) * sum(1 / (cell.n_effective or cell.n) for cell in (first, second)))
    return first.accuracy <= second.accuracy + 2 * error


def _on_the_same_images(first: Result, second: Result) -> tuple[Correct, Correct, Clusters | None] | None:
    if first.per_image is None or second.per_image is None:
        return None
    if (first.per_image.images, first.per_image.clusters) != (second.per_image.images, second.per_image.clusters):
        return None
    one, other = first.per_image.correct(first.n), second.per_image.correct(second.n)
    ways = first.per_image.ways(first.n)
    if one is None or other is None or ways is None or len(one) != len(other):
        return None
    return one, other, Clusters.of([[str(number) for number in of] for of in ways.T.tolist()])
