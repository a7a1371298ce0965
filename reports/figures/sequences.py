"""Sequences, overlap, and families that a later version adds: a dot and its interval a model."""

from __future__ import annotations

from clip_robustness.reports.decisions import accuracy_limit, bound
from clip_robustness.reports.figures.axes import Models, Panels, accuracy_of, dots, grouped
from clip_robustness.results.result import FAMILIES, Result
from clip_robustness.results.results import Results


def flips(results: Results, models: Models) -> Panels:
    own = [c for c in models.shown(results.cells) if "flip_probability" in c.metrics]
    for title, group in grouped(own, lambda c: f"{c.condition}, difficulty {c.params['difficulty']}").items():
        yield dots(
            title, "flip probability, %", group, models, lambda c: str(c.params["perturbation"]), _flip, _flip_limit
        )


def _flip(cell: Result) -> tuple[float, float, float]:
    return tuple(cell.metrics[f"flip_probability{end}"] for end in ("", "_ci95_low", "_ci95_high"))  # type: ignore[return-value]


def _flip_limit(cell: Result) -> float | None:
    return bound(cell, "max_flip_rate")


def other_families(results: Results, models: Models) -> Panels:
    """Overlap, and families that a later version adds: the accuracy of each condition."""
    own = [c for c in models.shown(results.cells) if c.family not in FAMILIES[:-1]]
    for title, group in grouped(own, lambda c: f"{c.family}: {c.condition}").items():
        yield dots(title, "accuracy, %", group, models, lambda c: c.label, accuracy_of, accuracy_limit)
