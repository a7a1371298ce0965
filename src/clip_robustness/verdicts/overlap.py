"""Cells of the family `overlap`: does the verdict on a natural shift stay without the images that overlap with the
pre-training set, and by how much does the accuracy change?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clip_robustness.datasets.dataset import without
from clip_robustness.evaluation.session import Session, clusters_of
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import Estimate, flat
from clip_robustness.metrics.overlap import Overlapping, Split, familiarity, split
from clip_robustness.results.history import CorrectImages
from clip_robustness.results.result import Result
from clip_robustness.verdicts import single


def measure(session: Session, cell: Cell, test: str, limits: int) -> list[Result]:
    """The candidate's row on the clean part, and then its baselines'.

    Raises `MissingDataError` for a data set that was not looked at.
    """
    shift = replace(cell, condition=cell.condition.compared)
    found, everything = session.overlap, session.without({})
    images = everything.images(shift.condition)
    ids = session.overlapping(images.name)
    on_all = single.measure(everything, shift, test, limits)
    clean = without(images, ids)
    if clean.samples == images.samples or not clean.samples:
        share = "none" if clean.samples else "all"
        reason = f"{share} of the {on_all[0].n} images overlap with the pre-training set"
        verdict = "not gated" if on_all[0].verdict == "not gated" else "pass" if clean.samples else "inconclusive"
        rows = [
            replace(row, verdict=verdict if row.role == "candidate" else "baseline", reason=reason) for row in on_all
        ]
    else:
        rest = session.without({images.name: ids})
        on_clean = single.measure(rest, shift, test, limits)
        rows = [_row(everything, rest, *pair, shift) for pair in zip(on_all, on_clean, strict=True)]
    gate = session.settings.suite.gate
    warn = gate.report_only or (rows[0].verdict == "inconclusive" and gate.on_inconclusive == "warn")
    said = tuple(f"pre-training images: {sentence}" for sentence in found.left_out)
    rows[0] = replace(rows[0], allowed=warn, test=test, warnings=(*rows[0].warnings, *said), regression=None)
    return [replace(row, family=cell.condition.family, condition=cell.condition.name) for row in rows]


def _row(everything: Session, rest: Session, before: Result, after: Result, shift: Cell) -> Result:
    """A model's row on the clean part, with its figures on all images and on the overlapping ones."""
    specs = {spec.text: spec for spec in (shift.candidate, *everything.settings.supervised)}
    ours = everything.correct(replace(shift, candidate=specs[before.model]))
    kept = set(rest.correct(replace(shift, candidate=specs[before.model])).ids)
    marks = np.array([id not in kept for id in ours.ids])
    clusters = clusters_of(ours.ids, everything.images(shift.condition))
    parts = split(ours.correct, marks, clusters)
    figures = {
        "overlap_rate": parts.rate,
        "accuracy_all": parts.all,
        "accuracy_overlapping": parts.overlapping,
        "removed": parts.removed,
    }
    if before.role != "candidate":
        return replace(after, metrics=after.metrics | flat(figures) | {"removed_p": parts.p})
    if before.supervised:
        theirs = everything.correct(replace(shift, candidate=specs[before.supervised.model]))
        figures["familiarity"] = _familiarity(ours, theirs, marks, clusters)
    verdict, said = compare(before, after)
    metrics = after.metrics | flat(figures) | {"removed_p": parts.p}
    if robust := {k: v for k, v in before.metrics.items() if k.startswith("effective_robustness")}:
        metrics |= {k.replace("robustness", "robustness_all"): v for k, v in robust.items()}
    return replace(after, verdict=verdict, reason=f"{said}; {sentence(parts, marks)}", metrics=metrics)


def compare(before: Result, after: Result) -> tuple[str, str]:
    """The verdict of an overlap cell, and why: pass where the images say the same of the limits with and without the
    overlap, fail where they say the opposite. A weakness that is known is one on both sides."""
    one, other = _status(before), _status(after)
    if one == "not gated":
        return one, before.reason
    if one == other != "inconclusive":
        return "pass", f"the verdict stays '{one}' on the clean images"
    changed = f"the verdict is '{one}' on all images and '{other}' on the clean ones ({after.reason})"
    return ("inconclusive" if "inconclusive" in (one, other) else "fail"), changed


def _status(row: Result) -> str:
    """What the images say of the limits, the worst of it."""
    said = {check.status for check in row.checks}
    return next((status for status in ("fail", "inconclusive", "pass") if status in said), row.verdict)


def sentence(parts: Split, marks: Overlapping) -> str:
    """How many images overlap, and what removing them changes, in percent."""

    def percent(e: Estimate, sign: str = "") -> str:
        return f"{100 * e.value:{sign}.1f} [{100 * e.low:{sign}.1f}, {100 * e.high:{sign}.1f}]"

    return (
        f"{marks.sum()} of {len(marks)} images overlap, {percent(parts.rate)}%; accuracy {percent(parts.all)}% on all, "
        f"{percent(parts.overlapping)}% on these, {percent(parts.clean)}% on the others; all - clean "
        f"{percent(parts.removed, '+')} points (p = {parts.p:.2g})"
    )


def _familiarity(ours: CorrectImages, theirs: CorrectImages, marks: Overlapping, clusters: Clusters | None) -> Estimate:
    """On the images that both models could read."""
    known = dict(zip(theirs.ids, theirs.correct, strict=True))
    common = np.array([id in known for id in ours.ids])
    other = np.array([known[id] for id in ours.ids if id in known])
    return familiarity(ours.correct[common], other, marks[common], clusters[common] if clusters else None)
