"""Why a figure differs from the published one: the same images with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from clip_robustness.calibration.changes import Change, Now, changes
from clip_robustness.calibration.compare import DIFFERS, status_of
from clip_robustness.calibration.setup import Bench
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.suites.figures import Published


@dataclass(frozen=True)
class Tried:
    """A change, and the accuracy with it on the images of a condition."""

    cause: str
    with_it: str
    condition: str
    published: float
    value: float
    ci95: tuple[float, float]
    n: int
    status: str


@dataclass(frozen=True)
class Finding:
    """What explains the figures of some conditions: the change that lands on the published ones. `cause` '': none does.
    `also` are other changes that land there."""

    model: str
    conditions: tuple[str, ...]
    cause: str
    with_it: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    findings: tuple[Finding, ...]
    tried: tuple[Tried, ...]


@dataclass(frozen=True)
class Compared:
    """A condition whose figure was compared; `among` how many were."""

    condition: Condition
    rows: Sequence[Published]
    metric: str
    among: int


Key = tuple[str, str]
"""A change by its cause and how it is made."""


def diagnosed(
    bench: Bench,
    differing: Sequence[Compared],
    agreeing: Sequence[Compared] = (),
    watch: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Try all changes under the conditions that differ, and what lands there and changes all figures of the model under
    those that agree, too: they have to stay. `watch` is told what is tried."""
    changes_of = {c.condition: _changes(bench, c.condition) for c in (*differing, *agreeing)}
    keys = dict.fromkeys(key for each in differing for key in changes_of[each.condition])
    tried: dict[Key, list[Tried]] = {}

    def attempt(key: Key, conditions: Sequence[Compared]) -> None:
        with suppress(InputError):  # a change that this model can't be made with
            for each in conditions:
                if change := changes_of[each.condition].get(key):
                    if watch:
                        watch(f"{each.condition.label}: {change.with_it}")
                    tried.setdefault(key, []).append(_tried(bench, change, each))

    for key in keys:
        attempt(key, differing)
    of_model = {key for found in changes_of.values() for key, change in found.items() if change.scope == "model"}
    labels = [each.condition.label for each in differing]
    for key, _ in _landing(tried, labels, of_model):
        if key in of_model:
            attempt(key, agreeing)
    findings, left = list[Finding](), labels
    while left and (landing := _landing(tried, left, of_model)):
        best, explained = landing[0]
        also = tuple(key[1] for key, others in landing[1:] if {*others} >= {*explained} and key[0] != best[0])
        findings.append(Finding(bench.start.spec.text, tuple(explained), *best, also))
        left = [condition for condition in left if condition not in explained]
    if left:
        findings.append(Finding(bench.start.spec.text, tuple(left), "", ""))
    return Diagnosis(tuple(findings), tuple(each for own in tried.values() for each in own))


def _changes(bench: Bench, condition: Condition) -> dict[Key, Change]:
    now = Now(bench.start, bench.classifier, condition, bench.images(condition))
    return {(change.cause, change.with_it): change for change in changes(now)}


def _tried(bench: Bench, change: Change, each: Compared) -> Tried:
    outcomes = bench.outcomes(change.setup, each.condition)
    correct = outcomes.others[each.metric] if each.metric else outcomes.correct
    found = accuracy(correct, outcomes.clusters)
    ci95 = found.low, found.high
    status, _ = status_of(each.rows, found.value, ci95, len(correct), each.among)
    nearest = min((row.value for row in each.rows), key=lambda value: abs(value - found.value))
    return Tried(change.cause, change.with_it, each.condition.label, nearest, found.value, ci95, len(correct), status)


def _landing(
    tried: Mapping[Key, Sequence[Tried]], left: Sequence[str], of_model: Collection[Key]
) -> list[tuple[Key, list[str]]]:
    """Changes and the conditions that each explains, the best first: who explains most, then who is nearest, then who
    was tried first. What changes all of a model's figures explains all that differ, or none."""
    found = []
    for key, own in tried.items():
        explained = [each for each in own if each.status != DIFFERS and each.condition in left]
        if not explained or (key in of_model and any(each.status == DIFFERS for each in own)):
            continue
        distance = sum(abs(each.value - each.published) for each in explained) / len(explained)
        found.append(((-len(explained), round(distance, 6)), key, [each.condition for each in explained]))
    found.sort(key=lambda each: each[0])
    return [(key, conditions) for _, key, conditions in found]
