"""A cell of one condition against its limits and the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clip_robustness.conditions.condition import CLEAN, UNIVERSAL, Condition, reference
from clip_robustness.datasets.dataset import Dataset, subsample
from clip_robustness.evaluation.session import Measured, Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics import evidence, sequential
from clip_robustness.metrics.intervals import (
    Correct,
    accuracy,
    flat,
    mean,
    median,
    paired_difference,
    unpaired_difference,
)
from clip_robustness.metrics.outcomes import NEVER, Outcomes
from clip_robustness.metrics.trend import Trend, effective_robustness, fit, published
from clip_robustness.models.spec import ModelSpec
from clip_robustness.results import guards
from clip_robustness.results.results import Result
from clip_robustness.verdicts.judge import Evidence, doubted, judge
from clip_robustness.verdicts.regression import Pairs, compared, regression
from clip_robustness.verdicts.rows import compared_with, judged, row_of


def measure(session: Session, cell: Cell, test: str, limits: int) -> list[Result]:
    """As `verdicts.measure.measure`."""
    condition, settings, gate = cell.condition, session.settings, session.settings.suite.gate
    comparable = () if condition.zero_shot_only else settings.supervised
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
        pairs = _on_common_images(ours, theirs[baseline]) if baseline else None
        before = compared(session, cell, ours, images) if session.before else None
        found = [_evidence(session, limit.name, limit.value, cell, ours, images, pairs, before) for limit in applying]
        over_looks = [_over_looks(e, tails, looks) for e in found]
        verdict = judge(applying, over_looks, gate, limits, settings.ungated(condition))
        if verdict.settled:
            break
    session.measured[cell] = Measured(ours, theirs.get(baseline) if baseline else None, images)
    names, spared = session.names(condition), looks[-1].counted - images.counted
    for spec, outcomes, spent in zip(specs, measured, seconds, strict=True):
        row = row_of(spec, "supervised" if rows else "candidate", condition, outcomes, names)
        metrics = row.metrics | _effective(session, spec, condition, outcomes)
        if condition.family == "adversarial":
            metrics |= session.flags(spec)
        rows.append(replace(row, seconds=round(spent, 3), n_skipped=spared, metrics=metrics))
    if baseline and pairs:
        estimate = accuracy(theirs[baseline].correct)
        rows[0] = compared_with(rows[0], baseline, estimate, paired_difference(*pairs))
    rows[0] = replace(
        judged(rows[0], doubted(verdict, guards.doubts(rows[0])), settings.firm(condition), gate, test),
        regression=regression(session, ours, before) if before else None,
        warnings=(*session.images(condition).warnings, *ours.notes),
    )
    return rows


def _looks(session: Session, condition: Condition) -> list[Dataset]:
    """The images of a cell, part by part where it may end early. Clean images are looked at as a whole: other cells
    are compared with them."""
    images = session.images(condition)
    if not session.settings.stop_early or condition.family == "clean" or condition.name == UNIVERSAL:
        return [images]
    return [subsample(images, size, session.settings.seed) for size in sequential.looks(images.counted)]


def _effective(session: Session, spec: ModelSpec, condition: Condition, outcomes: Outcomes) -> dict[str, float]:
    """Effective robustness under a natural shift, against the published trend of models over ImageNet's classes."""
    on_imagenet = condition.family == "natural" and session.settings.suite.classes == "imagenet"
    trend = published(condition.name) if on_imagenet else None
    if trend is None or session.settings.suite.source(session.settings.suite.data_of(CLEAN)) is None:
        return {}
    clean = session.on_reference(spec, condition)
    estimate = effective_robustness(trend, outcomes.correct, clean.correct)
    return flat({"effective_robustness": estimate}) | {"trend_r2": trend.r2}


def _evidence(
    session: Session,
    limit: str,
    bound: float,
    cell: Cell,
    ours: Outcomes,
    images: Dataset,
    pairs: tuple[Correct, Correct] | None,
    before: Pairs | str | None,
) -> Evidence | str:
    """What the images say of a limit, or why they say nothing. `pairs`: candidate's and baseline's outcomes, `before`:
    those of the recorded run."""
    condition, correct = cell.condition, ours.correct
    if limit == "max_regression":
        if not isinstance(before, Pairs):
            return f"{limit}: {before}"
        tail = evidence.paired(before.now, before.then, -bound)
        return Evidence(limit, "difference to the recorded run", -bound, before.difference, tail, len(before.ids))
    if limit == "min_accuracy":
        return Evidence(
            limit, "accuracy", bound, accuracy(correct), evidence.share(correct, bound), len(correct), signed=False
        )
    if limit in ("max_drop_vs_supervised", "min_drop_vs_supervised"):
        if pairs is None:
            return f"{limit} needs a baseline; give one with --supervised"
        what, estimate = "difference to the supervised baseline", paired_difference(*pairs)
        tail, n = evidence.paired(*pairs, -bound), len(pairs[0])
        kept = limit == "max_drop_vs_supervised"
        return Evidence(limit, what, -bound, estimate, tail if kept else tail.mirrored(), n, at_least=kept)
    if limit == "max_drop_vs_clean":
        clean = session.on_reference(cell.candidate, condition)
        pair = _on_common_images(ours, clean)
        same = condition.data == reference(condition).data and len(pair[0]) > 0
        one, other = pair if same else (correct, clean.correct)
        estimate = (paired_difference if same else unpaired_difference)(one, other)
        tail = (evidence.paired if same else evidence.unpaired)(one, other, -bound)
        return Evidence(limit, "difference to the clean images", -bound, estimate, tail, len(one))
    if limit == "min_effective_robustness":
        trend = _trend(session, condition, images)
        if trend is None:
            return f"{limit} needs a trend: a published one, over ImageNet's classes, or three supervised baselines"
        right = correct, session.on_reference(cell.candidate, condition).correct
        tail = evidence.effective_robustness(trend, *right, bound)
        estimate = effective_robustness(trend, *right)
        return Evidence(limit, f"effective robustness ({trend.source})", bound, estimate, tail, len(correct))
    if limit == "max_flip_rate":
        flips = ours.measures[f"flips-{condition['difficulty']}"]
        tail = evidence.mean_at_most(flips, bound)
        return Evidence(limit, "flip probability", bound, mean(flips), tail, len(flips), at_least=False, signed=False)
    smallest = 255 * ours.measures["smallest_eps"]
    tail = evidence.median_at_least(smallest, bound)
    return Evidence(
        limit,
        "median of the smallest eps x 255",
        bound,
        median(smallest, 0, 255 * NEVER),
        tail,
        len(smallest),
        signed=False,
    )


def _trend(session: Session, condition: Condition, images: Dataset) -> Trend | None:
    """The published one, over ImageNet's classes; else that of three or more baselines of the run."""
    on_imagenet = session.settings.suite.classes == "imagenet"
    if on_imagenet and (trend := published(condition.name)):
        return trend
    if len(session.settings.supervised) < 3 or condition.zero_shot_only:
        return None
    figures = [
        [session.outcomes(spec, c, seen).correct.mean() for spec in session.settings.supervised]
        for c, seen in ((reference(condition), None), (condition, images))
    ]
    return replace(fit(*figures), source=f"trend of {len(figures[0])} baselines of the run")


def _over_looks(
    found: Evidence | str, tails: dict[str, list[evidence.Tail]], looks: Sequence[Dataset]
) -> Evidence | str:
    """The evidence of this look, its p-values over this one and those before, which are kept in `tails`."""
    if isinstance(found, str):
        return found
    tails[found.limit].append(found.tail)
    return replace(found, tail=sequential.over_looks(tails[found.limit], [images.counted for images in looks]))


def _on_common_images(first: Outcomes, second: Outcomes) -> tuple[Correct, Correct]:
    """What both got right or wrong, for the images that both could read, in one order."""
    common = set(first.ids) & set(second.ids)
    one, other = (np.array([c for i, c in zip(o.ids, o.correct, strict=True) if i in common]) for o in (first, second))
    return one, other
