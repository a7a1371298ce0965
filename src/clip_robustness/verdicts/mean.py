"""Means over cells: mCE and mean accuracy of ImageNet-C, over its corruptions and severities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from clip_robustness.conditions.condition import CORRUPTIONS_OF_MCE, SEVERITIES, Condition, averaged_by
from clip_robustness.errors import InputError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics import evidence
from clip_robustness.metrics.corruption import Errors, mce, mean_top1
from clip_robustness.metrics.intervals import flat, mean
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results.results import Result
from clip_robustness.verdicts.judge import Evidence, judge
from clip_robustness.verdicts.rows import compared_with, judged


def measure(session: Session, cell: Cell, test: str, limits: int) -> list[Result]:
    """The mean over all cells of ImageNet-C. Accuracies are of all predictions, with an interval over images."""
    condition, settings = cell.condition, session.settings
    applying = settings.limits(condition)
    specs = (cell.candidate, *settings.supervised)
    # a list: a candidate that is a baseline, too, is computed once, and its first answer has the seconds
    of = [_over_corruptions(session, spec, condition) for spec in specs]
    scores = mce(of[0][1])
    found = [
        Evidence(
            limit.name, "mCE", limit.value, mean(scores), evidence.mean_at_most(scores, limit.value), len(scores),
            at_least=False, signed=False,
        )
        for limit in applying
    ]  # fmt: skip
    verdict = judge(applying, found, settings.suite.gate, limits, settings.ungated(condition))
    rows = [_row(spec, condition, *over) for spec, over in zip(specs, of, strict=True)]
    rows[0] = judged(replace(rows[0], role="candidate"), verdict, settings.firm(condition), settings.suite.gate, test)
    if reference := session.reference_of(cell.candidate):
        both = of[0], of[specs.index(reference)]
        first, second = (dict(zip(ids, mean_top1(errors), strict=True)) for ids, errors, _ in both)
        drop = mean(np.array([first[id] - second[id] for id in first if id in second]))
        rows[0] = compared_with(rows[0], reference, mean(np.array([*second.values()])), drop)
    return rows


def _row(
    spec: ModelSpec, condition: Condition, ids: Sequence[str], errors: Mapping[str, Errors], seconds: float
) -> Result:
    top1, cells = mean_top1(errors), sum(map(len, errors.values()))
    estimate = mean(top1)
    return Result(
        condition.family,
        condition.name,
        {},
        spec.text,
        "supervised",
        "baseline",
        "",
        n=cells * len(ids),
        correct=round(cells * float(top1.sum())),
        accuracy=estimate.value,
        ci95=(estimate.low, estimate.high),
        metrics=flat({"mce": mean(mce(errors))}),
        seconds=round(seconds, 3),
    )


def _over_corruptions(
    session: Session, spec: ModelSpec, condition: Condition
) -> tuple[list[str], dict[str, Errors], float]:
    """Ids of the images that all cells have, the errors on them: corruption -> (5, n), and the seconds that cells took
    which were not stored."""
    cells = averaged_by(condition, session.settings.suite.conditions)
    outcomes = {(c["corruption"], c["severity"]): session.outcomes(spec, c) for c in cells}
    wrong = {key: dict(zip(o.ids, ~o.correct, strict=True)) for key, o in outcomes.items()}
    ids = sorted(set.intersection(*(set(by_id) for by_id in wrong.values())))
    if len(ids) < 2:
        raise InputError(
            f"{condition.averaged}: its cells have {len(ids)} images in common; mCE needs the same images in all"
        )
    errors = {
        corruption: np.array([[wrong[corruption, severity][id] for id in ids] for severity in SEVERITIES], float)
        for corruption in CORRUPTIONS_OF_MCE
    }
    return ids, errors, sum(o.seconds for o in outcomes.values())
