"""A cell of one condition against its limits and the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from clip_robustness.conditions.condition import CLEAN, Condition
from clip_robustness.datasets.dataset import Dataset, subsample
from clip_robustness.evaluation.session import Measured, Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics import evidence, sequential
from clip_robustness.metrics.intervals import accuracy, flat, paired_difference
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.seeds import of_first_seed
from clip_robustness.metrics.trend import effective_robustness, published
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results import guards
from clip_robustness.results.result import Result
from clip_robustness.suites.forecast import too_few
from clip_robustness.verdicts import limits
from clip_robustness.verdicts.judge import Evidence, doubted, judge
from clip_robustness.verdicts.limits import Look, on_common_images
from clip_robustness.verdicts.regression import compared, regression
from clip_robustness.verdicts.rows import compared_with, judged, row_of


def measure(session: Session, cell: Cell, test: str, of: int) -> list[Result]:
    """As `verdicts.measure.measure`."""
    condition, settings, gate = cell.condition, session.settings, session.settings.suite.gate
    comparable = () if condition.kind.zero_shot_only else settings.supervised
    specs = (cell.candidate, *comparable)
    baseline = session.reference_of(cell.candidate) if comparable else None
    applying = settings.limits(condition)
    looks = _looks(session, condition) if applying else [session.images(condition)]
    tails: dict[str, list[evidence.Tail]] = defaultdict(list)
    seconds, rows = [0.0] * len(specs), list[Result]()
    for images in looks:
        measured = [session.outcomes(spec, condition, images) for spec in specs]
        seconds = [spent + outcomes.seconds for spent, outcomes in zip(seconds, measured, strict=True)]
        ours, theirs = measured[0], dict(zip(comparable, measured[1:], strict=True))
        pairs = on_common_images(ours, theirs[baseline]) if baseline else None
        before = compared(session, cell, of_first_seed(ours), images) if session.before else None
        look = Look(session, cell, images, ours, pairs, before)
        found = [limits.found(look, limit) for limit in applying]
        over_looks = [_over_looks(e, tails, looks) for e in found]
        verdict = judge(applying, over_looks, gate, of, settings.ungated(condition))
        if verdict.settled:
            break
    of_baseline = of_first_seed(theirs[baseline]) if baseline else None
    session.measured[cell] = Measured(of_first_seed(ours), of_baseline, images)
    names, spared = session.names(condition), looks[-1].counted - images.counted
    for spec, outcomes, spent in zip(specs, measured, seconds, strict=True):
        row = row_of(spec, "supervised" if rows else "candidate", condition, outcomes, names)
        metrics = row.metrics | _effective(session, spec, condition, outcomes)
        if condition.kind.compared_with:
            metrics |= flat({"gap": limits.gap(condition, outcomes, session.on_reference(spec, condition))})
        if condition.kind.is_attack:
            metrics |= session.models.flags(spec)
        rows.append(replace(row, seconds=round(spent, 3), n_skipped=spared, metrics=metrics))
    if baseline and pairs:
        estimate = accuracy(theirs[baseline].correct, theirs[baseline].clusters)
        rows[0] = compared_with(rows[0], baseline, estimate, paired_difference(*pairs))
    independent = rows[0].n_effective or rows[0].n
    weak = [said for limit in applying if not spared and (said := too_few(limit, independent, of, gate))]
    rows[0] = replace(
        judged(rows[0], doubted(verdict, guards.doubts(rows[0])), settings.firm(condition), gate, test),
        regression=regression(session, of_first_seed(ours), before) if before else None,
        warnings=(*session.images(condition).warnings, *ours.notes, *weak),
    )
    return rows


def _looks(session: Session, condition: Condition) -> list[Dataset]:
    """The images of a cell, part by part where it may end early. Clean images are looked at as a whole: other cells
    are compared with them."""
    images = session.images(condition)
    if not session.settings.stop_early or condition.kind.is_reference or _crafted_for_all(condition):
        return [images]
    return [subsample(images, size, session.settings.seed) for size in sequential.looks(images.counted)]


def _crafted_for_all(condition: Condition) -> bool:
    """Whether what is done to one image depends on which others there are."""
    return any(each.kind.craft_set for each in condition.members or (condition,))


def _effective(session: Session, spec: ModelSpec, condition: Condition, outcomes: Outcomes) -> dict[str, float]:
    """Effective robustness under a natural shift, against the published trend of models over ImageNet's classes."""
    on_imagenet = condition.kind.is_shift and session.settings.suite.classes == "imagenet"
    trend = published(condition.id) if on_imagenet else None
    if trend is None or session.settings.suite.source(session.settings.suite.data_of(CLEAN)) is None:
        return {}
    clean = session.on_reference(spec, condition)
    of = outcomes.correct, clean.correct, outcomes.clusters, clean.clusters
    estimates = {
        "effective_robustness": effective_robustness(trend, *of),
        "among_single_models": effective_robustness(trend, *of, scatter=True),
    }
    return flat(estimates) | {"trend_r2": trend.r2, "trend_spread": trend.spread}


def _over_looks(
    found: Evidence | str, tails: dict[str, list[evidence.Tail]], looks: Sequence[Dataset]
) -> Evidence | str:
    """The evidence of this look, its p-values over this one and those before, which are kept in `tails`."""
    if isinstance(found, str):
        return found
    tails[found.limit].append(found.tail)
    return replace(found, tail=sequential.over_looks(tails[found.limit], [images.counted for images in looks]))
