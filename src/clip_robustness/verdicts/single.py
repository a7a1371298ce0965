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
from clip_robustness.metrics.intervals import accuracy, flat, mean, median, paired_difference, unpaired_difference
from clip_robustness.metrics.outcomes import NEVER, Outcomes, Paired
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
        pairs = on_common_images(ours, theirs[baseline]) if baseline else None
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
        estimate = accuracy(theirs[baseline].correct, theirs[baseline].clusters)
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
    of = outcomes.correct, clean.correct, outcomes.clusters, clean.clusters
    estimates = {
        "effective_robustness": effective_robustness(trend, *of),
        "among_single_models": effective_robustness(trend, *of, scatter=True),
    }
    return flat(estimates) | {"trend_r2": trend.r2, "trend_spread": trend.spread}


def _evidence(
    session: Session,
    limit: str,
    bound: float,
    cell: Cell,
    ours: Outcomes,
    images: Dataset,
    pairs: Paired | None,
    before: Pairs | str | None,
) -> Evidence | str:
    """What the images say of a limit, or why they say nothing. `pairs`: candidate's and baseline's outcomes, `before`:
    those of the recorded run."""
    condition, correct, clusters = cell.condition, ours.correct, ours.clusters
    if limit == "max_regression":
        if not isinstance(before, Pairs):
            return f"{limit}: {before}"
        tail = evidence.paired(before.now, before.then, -bound, before.clusters)
        what, n = "difference to the recorded run", len(before.ids)
        return Evidence(limit, what, -bound, before.difference, tail, n, clusters=before.clusters)
    if limit == "min_accuracy":
        estimate, tail = accuracy(correct, clusters), evidence.share(correct, bound, clusters)
        return Evidence(limit, "accuracy", bound, estimate, tail, len(correct), signed=False, clusters=clusters)
    if limit in ("max_drop_vs_supervised", "min_drop_vs_supervised"):
        if pairs is None:
            return f"{limit} needs a baseline; give one with --supervised"
        what, estimate = "difference to the supervised baseline", paired_difference(*pairs)
        tail, n = evidence.paired(pairs.first, pairs.second, -bound, pairs.clusters), len(pairs.first)
        kept = limit == "max_drop_vs_supervised"
        tail = tail if kept else tail.mirrored()
        return Evidence(limit, what, -bound, estimate, tail, n, at_least=kept, clusters=pairs.clusters)
    if limit == "max_drop_vs_clean":
        clean = session.on_reference(cell.candidate, condition)
        pair, what = on_common_images(ours, clean), "difference to the clean images"
        if condition.data == reference(condition).data and len(pair.first) > 0:
            tail = evidence.paired(pair.first, pair.second, -bound, pair.clusters)
            estimate, n = paired_difference(*pair), len(pair.first)
            return Evidence(limit, what, -bound, estimate, tail, n, clusters=pair.clusters)
        tail = evidence.unpaired(correct, clean.correct, -bound, clusters, clean.clusters)
        estimate = unpaired_difference(correct, clean.correct, clusters, clean.clusters)
        return Evidence(limit, what, -bound, estimate, tail, len(correct), clusters=clusters)
    if limit == "min_effective_robustness":
        trend = _trend(session, condition, images)
        if trend is None:
            return f"{limit} needs a trend: a published one, over ImageNet's classes, or three supervised baselines"
        clean = session.on_reference(cell.candidate, condition)
        of, scatter = (clusters, clean.clusters), session.settings.suite.gate.trend_interval == "prediction"
        tail = evidence.effective_robustness(trend, correct, clean.correct, bound, *of, scatter=scatter)
        what = f"effective robustness ({trend.source}{', among single models' if scatter else ''})"
        estimate = effective_robustness(trend, correct, clean.correct, *of, scatter=scatter)
        return Evidence(limit, what, bound, estimate, tail, len(correct), clusters=clusters)
    if limit == "max_flip_rate":
        flips = ours.measures[f"flips-{condition['difficulty']}"]
        tail, estimate, n = evidence.mean_at_most(flips, bound, clusters), mean(flips, clusters), len(flips)
        what = "flip probability"
        return Evidence(limit, what, bound, estimate, tail, n, at_least=False, signed=False, clusters=clusters)
    smallest = 255 * ours.measures["smallest_eps"]
    tail = evidence.median_at_least(smallest, bound, clusters)
    return Evidence(
        limit,
        "median of the smallest eps x 255",
        bound,
        median(smallest, 0, 255 * NEVER, clusters),
        tail,
        len(smallest),
        signed=False,
        clusters=clusters,
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


def on_common_images(first: Outcomes, second: Outcomes) -> Paired:
    """What both got right or wrong, for the images that both could read, in one order."""
    common = set(first.ids) & set(second.ids)
    one, other = (np.array([i in common for i in outcomes.ids], bool) for outcomes in (first, second))
    return Paired(first.correct[one], second.correct[other], first.clusters[one] if first.clusters else None)
