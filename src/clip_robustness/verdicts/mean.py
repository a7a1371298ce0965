"""Means over cells: the accuracy over all corruptions and severities of a set, and of ImageNet-C mCE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clip_robustness.conditions.condition import SEVERITIES, Condition, averaged_by
from clip_robustness.errors import InputError
from clip_robustness.evaluation.session import Session, clusters_of
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters, effect
from clip_robustness.metrics.corruption import Errors, mce, mean_top1
from clip_robustness.metrics.intervals import flat, mean
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results.result import Result
from clip_robustness.verdicts import limits
from clip_robustness.verdicts.judge import judge
from clip_robustness.verdicts.limits import MeanLook
from clip_robustness.verdicts.rows import compared_with, judged


def measure(session: Session, cell: Cell, test: str, count: int) -> list[Result]:
    """The mean over all cells of a set. Accuracies are of all predictions, with an interval over images."""
    condition, settings = cell.condition, session.settings
    applying = settings.limits(condition)
    specs = (cell.candidate, *settings.supervised)
    # a list: a candidate that is a baseline, too, is computed once, and its first answer has the seconds
    of = [_over_corruptions(session, spec, condition) for spec in specs]
    clusters = of[0].clusters
    found = [limits.found(MeanLook(of[0].errors, clusters), limit) for limit in applying]
    verdict = judge(applying, found, settings.suite.gate, count, settings.ungated(condition))
    rows = [_row(spec, condition, over) for spec, over in zip(specs, of, strict=True)]
    rows[0] = judged(replace(rows[0], role="candidate"), verdict, settings.firm(condition), settings.suite.gate, test)
    if reference := session.reference_of(cell.candidate):
        both = of[0], of[specs.index(reference)]
        first, second = (dict(zip(over.ids, mean_top1(over.errors, condition.kind.over), strict=True)) for over in both)
        common = np.array([id in second for id in first])
        drop = mean(np.array([first[id] - second[id] for id in first if id in second]), clusters and clusters[common])
        theirs = mean(np.array([*second.values()]), both[1].clusters)
        rows[0] = compared_with(rows[0], reference, theirs, drop)
    return rows


@dataclass(frozen=True)
class _Over:
    """Ids of the images that all cells have, the errors on them: corruption -> (5, n), and the seconds that cells took
    which were not stored."""

    ids: list[str]
    errors: Mapping[str, Errors]
    seconds: float
    clusters: Clusters | None


def _row(spec: ModelSpec, condition: Condition, over: _Over) -> Result:
    top1, cells = mean_top1(over.errors, condition.kind.over), sum(map(len, over.errors.values()))
    estimate, of = mean(top1, over.clusters), effect(top1, over.clusters)
    return Result(
        condition.family,
        condition.name,
        {},
        spec.text,
        "supervised",
        "baseline",
        "",
        n=cells * len(over.ids),
        n_clusters=over.clusters.count if over.clusters else 0,
        design_effect=round(of.deff, 4),
        n_effective=round(of.count(cells * len(over.ids)), 2),
        correct=round(cells * float(top1.sum())),
        accuracy=estimate.value,
        ci95=(estimate.low, estimate.high),
        metrics=flat({"mce": mean(mce(over.errors), over.clusters)}) if condition.kind.is_mce else {},
        seconds=round(over.seconds, 3),
    )


def _over_corruptions(session: Session, spec: ModelSpec, condition: Condition) -> _Over:
    """Raises `InputError` where the cells have no images in common."""
    cells = averaged_by(condition, session.settings.suite.conditions)
    outcomes = {(c["corruption"], c["severity"]): session.outcomes(spec, c) for c in cells}
    wrong = {key: dict(zip(o.ids, ~o.correct, strict=True)) for key, o in outcomes.items()}
    ids = sorted(set.intersection(*(set(by_id) for by_id in wrong.values())))
    if len(ids) < 2:
        raise InputError(
            f"{condition.kind.averages}: its cells have {len(ids)} images in common; a mean needs the same ones in all"
        )
    errors = {
        corruption: np.array([[wrong[corruption, severity][id] for id in ids] for severity in SEVERITIES], float)
        for corruption in condition.kind.over
    }
    clusters = clusters_of(ids, session.images(cells[0]))
    return _Over(ids, errors, sum(o.seconds for o in outcomes.values()), clusters)
