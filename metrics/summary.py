"""Figures of a model over many cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from metrics.corruption import Errors, mce, mean_top1, relative_mce
from metrics.results import Cell, Summary
from models.errors import InputError


def of_imagenet_c(cells: Iterable[Cell], *, on_imagenet: bool) -> list[Summary]:
    """Mean top-1, and over ImageNet's classes mCE and relative mCE, of each model that ran all 15 corruptions at all
    severities.

    The intervals come from the ends of the cells' own: wide, but right however the cells, which share their images,
    depend on each other.
    """
    by_model: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.accuracy is not None:
            by_model[cell.model, cell.role].append(cell)
    found = []
    for (model, role), own in by_model.items():
        try:
            figures = _figures(own, on_imagenet)
        except InputError:  # some cells did not run: a mean of the others would look like one of all
            continue
        found += [
            Summary(model, role, f"imagenet-c {name}", v, (low, high)) for name, (v, low, high) in figures.items()
        ]
    return found


def _figures(cells: list[Cell], on_imagenet: bool) -> dict[str, tuple[float, float, float]]:
    """Name -> value, low, high."""
    value, least, most = (_errors(cells, end) for end in range(3))
    figures = {"mean top-1": [mean_top1(errors) for errors in (value, most, least)]}
    clean = next((_error(cell) for cell in cells if cell.condition == "clean"), None)
    if on_imagenet:
        figures["mCE"] = [mce(errors) for errors in (value, least, most)]
        if clean:
            pairs = zip((value, least, most), (clean[0], clean[2], clean[1]), strict=True)
            figures["relative mCE"] = [relative_mce(errors, of_clean) for errors, of_clean in pairs]
    return {name: (float(v), float(low), float(high)) for name, (v, low, high) in figures.items()}


def _errors(cells: list[Cell], end: int) -> dict[str, Errors]:
    """Corruption -> errors by severity: the values (`end` 0), the low (1) or the high (2) ends of their intervals."""
    found: dict[str, list[float]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.params.get("severity", 0)):
        if cell.condition == "imagenet-c":
            found[str(cell.params["corruption"])].append(_error(cell)[end])
    return {name: np.array(errors) for name, errors in found.items()}


def _error(cell: Cell) -> tuple[float, float, float]:
    assert cell.accuracy is not None
    assert cell.ci95 is not None
    return 1 - cell.accuracy, 1 - cell.ci95[1], 1 - cell.ci95[0]
