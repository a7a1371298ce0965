"""What a cell stands on, before its verdict counts: a clean or natural accuracy at chance is no measurement, and
neither is what is compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from clip_robustness.conditions.condition import CLEAN, Condition, reference
from clip_robustness.datasets.dataset import Dataset, subsample
from clip_robustness.evaluation.doubt import Doubt
from clip_robustness.evaluation.images import MissingDataError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.chance import Answers, another_order, far_better, guessed, likeliest, standing
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.trend import far_below, published
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results.result import Result

_WRONG = 3
"""Labels that others would be so many times as good as are not right."""
_LOOKED_AT = 64
"""Images whose colours are reversed, to see whether that is what is wrong."""


class _Expected(NamedTuple):
    """The clean accuracy, 0 where it is not known; what it makes expect of a natural one, in words; and whether that
    one is implausibly far below, None where nothing is published."""

    clean: float = 0.0
    sentence: str = ""
    far_below: bool | None = None


def checked(session: Session, cell: Cell, rows: Sequence[Result], *, alone: bool = False) -> list[Result]:
    """The rows of a cell, whose verdict is an error where its own clean or natural accuracies, or those that it is
    compared with, are at chance, whatever the rules say; the rows of baselines say why theirs are no measurements.
    Images too few to tell are no pass. `alone`: it is not compared with the supervised models."""
    own = cell.condition.compared
    doubts = {(spec, c): _doubt(session, cell, spec, c) for spec, c in _stands_on(session, cell, alone)}
    said = {spec.text: doubt.warning for (spec, c), doubt in doubts.items() if c == own and doubt.warning}
    first, *others = (
        replace(row, warnings=(*row.warnings, said[row.model])) if row.model in said else row for row in rows
    )
    wrong = {spec.text: doubt.error for (spec, _), doubt in doubts.items() if doubt.error}
    others = [replace(row, reason=wrong.get(row.model, "")) for row in others]
    if errors := list(_errors(own, doubts)):
        reason = "; ".join(errors)
        first = replace(first, verdict="error", reason=reason, checks=(), regression=None, allowed=False)
    elif few := [doubt.few for doubt in doubts.values() if doubt.few]:
        first = replace(first, warnings=(*first.warnings, *few))
        if first.verdict == "pass":
            gate = session.settings.suite.gate
            allowed = gate.report_only or gate.on_inconclusive == "warn"
            first = replace(first, verdict="inconclusive", reason="; ".join(few), allowed=allowed)
    return [first, *others]


def _errors(own: Condition, doubts: dict[tuple[ModelSpec, Condition], Doubt]) -> Iterator[str]:
    for condition in dict.fromkeys(condition for _, condition in doubts):
        errors = [doubt.error for (_, c), doubt in doubts.items() if c == condition]
        found = "; ".join(error for error in errors if error)
        if found and not all(errors):
            found += "; not so with other models: look at the classes of this one, their order and names"
        if found:
            yield found if condition == own else f"compared with {condition.label}: {found}"


def _stands_on(session: Session, cell: Cell, alone: bool) -> Iterator[tuple[ModelSpec, Condition]]:
    """The accuracies that have to be above chance: those of all models under a clean or natural condition itself, and
    on the clean images that a cell is compared with, where the suite has them; there those of a surrogate, too."""
    condition, settings = cell.condition.compared, session.settings
    models = [cell.candidate, *(() if alone or condition.kind.zero_shot_only else settings.supervised)]
    start = reference(condition)
    if condition.kind.tells_of_labels and condition != start:
        yield from ((spec, condition) for spec in models)
    with suppress(MissingDataError):
        session.images(start)
        surrogate = [settings.surrogate] if condition.on_surrogate and settings.surrogate else []
        yield from ((spec, start) for spec in [*models, *surrogate])


def _doubt(session: Session, cell: Cell, spec: ModelSpec, condition: Condition) -> Doubt:
    """Of clean images it stays known: many cells stand on them."""
    if condition.kind.is_reference:
        if (spec, condition) not in session.doubts:
            session.doubts[spec, condition] = _found(session, spec, condition, session.images(condition))
        return session.doubts[spec, condition]
    known = session.measured.get(cell)
    return _found(session, spec, condition, known.images if known else session.images(condition))


def _found(session: Session, spec: ModelSpec, condition: Condition, images: Dataset) -> Doubt:
    outcomes = session.outcomes(spec, condition, images)
    answers, names, keys = _answers(session, spec, condition, images, outcomes)
    found = standing(answers)
    if found.status != "above" and len(images) < len(everything := session.images(condition)):  # settled early
        return _found(session, spec, condition, everything)
    where = f"{spec.text} on {condition.label}"
    if found.status == "few":
        return Doubt(few=f"{where}: {found.reason}")
    expected, right = _expected(session, spec, condition, outcomes), float(answers.correct.mean())
    cause = likeliest(answers, names, keys)
    if cause is None and expected.far_below is not False:  # a set that models are known to confuse has an order, too
        cause = _reordered(answers, max(_WRONG * right, expected.clean / 2))
    tail = f"{_would_be(cause)}{expected.sentence}"
    if cause and cause[1] >= _WRONG * right:
        return Doubt(error=f"{where}: the labels are wrong, or the classes of the model: {found.reason}; {tail}")
    at_chance = found.status == "at"
    if at_chance and expected.far_below is not False:
        tail = f"{_would_be(cause or _reversed(session, spec, condition, images))}{expected.sentence}"
        return Doubt(error=f"{where} is at chance: {found.reason}; {tail}")
    if at_chance:
        return Doubt(warning=f"{where} is at chance, as it may be: {found.reason}{expected.sentence}")
    if expected.far_below or cause:
        return Doubt(warning=f"{where} is doubtful: {found.reason}; {tail}")
    return Doubt()


def _answers(
    session: Session, spec: ModelSpec, condition: Condition, images: Dataset, outcomes: Outcomes
) -> tuple[Answers, Sequence[str], Sequence[str]]:
    """With the names and the keys of the classes. Of videos the anchors alone count, as under pm-0."""
    labels = {sample.id: sample.accepted for sample in images.samples}
    most = max(map(len, labels.values()))
    accepted = np.array([[*labels[id], *[-1] * (most - len(labels[id]))] for id in outcomes.ids], np.int64)
    keys = images.space.keys if images.space else session.asked(spec, condition).classes.keys
    sizes = [len(members) for members in images.space.members] if images.space else [1] * len(keys)
    answers = Answers(outcomes.predictions, accepted, guessed(accepted, sizes), outcomes.clusters)
    return answers, session.names(condition), keys


def _expected(session: Session, spec: ModelSpec, condition: Condition, shifted: Outcomes) -> _Expected:
    if condition.kind.is_reference:
        return _Expected()
    suite = session.settings.suite
    trend = published(condition.id) if suite.classes == "imagenet" else None
    if suite.source(suite.data_of(CLEAN)) is None:
        return _Expected(sentence=f"; {CLEAN.data} under [data] would tell what to expect" if trend else "")
    correct = session.on_reference(spec, condition).correct
    clean = float(correct.mean())
    if trend is None:
        return _Expected(clean)
    predicted = f"; the published trend predicts {_percent(trend(clean))} from {_percent(clean)} on the clean images"
    return _Expected(clean, predicted, far_below(trend, shifted.correct, correct))


def _reversed(session: Session, spec: ModelSpec, condition: Condition, images: Dataset) -> tuple[str, float] | None:
    """With blue for red, for a few images."""
    from clip_robustness.models.classifier import predict
    from clip_robustness.models.projected import restrict_logits

    few = subsample(replace(images, anchors=()), _LOOKED_AT, session.settings.seed)
    model = session.asked(spec, condition)
    classifier, right, instead = restrict_logits(model.loaded, images.space), [], []
    for picture in session.evaluator.pictures(model, condition, few):
        accepted = picture.sample.accepted
        right.append(picture.prediction in accepted)
        instead.append(predict(classifier, picture.changed.flip(0)[None])[0] in accepted)
    if not right or not far_better(np.array(instead), np.array(right)):
        return None
    return "with red and blue exchanged (BGR for RGB)", float(np.mean(instead))


def _reordered(answers: Answers, at_least: float) -> tuple[str, float] | None:
    accuracy = another_order(answers, at_least) if at_least < 1 else None
    if accuracy is None:
        return None
    return "with labels in another order, the one that fits other images best,", accuracy


def _would_be(cause: tuple[str, float] | None) -> str:
    if cause is None:
        return "no usual numbering of the labels would be better; look at the labels and the preprocessing"
    what, accuracy = cause
    return f"{what} the accuracy would be {_percent(accuracy)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
