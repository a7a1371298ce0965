"""Measured figures beside published ones: what agrees, what differs, and what so few images can't tell.

Published figures are of all images of a set. On all of them another pipeline differs by no more than the figure's
tolerance, whatever the interval of an accuracy says of other images. A part of them differs by chance, too: by the
interval, corrected for the share that it is of a finite set, and for how many figures are compared (Bonferroni), so
that of runs whose set-up is right one in twenty says that any figure differs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from scipy.special import ndtri

from clip_robustness.results.result import Result
from clip_robustness.results.results import Comparison
from clip_robustness.suites.figures import Figures, Published

_TELLING = 0.024
"""What one template instead of eighty costs OpenAI's ViT-B/32: images that don't show it don't show a wrong set-up."""
_UNEVEN = ("imagenet-r", "imagenet-a", "objectnet", "objectnet-all-names", "imagenet-vid-robust", "ytbb-robust")
"""Sets whose classes have different numbers of images; a sample has as many of each."""
AGREES, DIFFERS, OPEN = "agrees", "differs", "can't tell"


def compared(
    figures: Figures, known: Mapping[str, str], cells: Sequence[Result], on: Collection[str]
) -> list[Comparison]:
    """A comparison for each cell that has a published figure. `known`: what results call a model -> what the figures
    call it. `on`: the class list, or the named subset, that the cells are of."""
    found = list(_pairs(figures, known, cells, on))
    return [_compared(rows, cell, metric, len(found)) for rows, cell, metric in found]


def _pairs(
    figures: Figures, known: Mapping[str, str], cells: Sequence[Result], on: Collection[str]
) -> Iterator[tuple[list[Published], Result, str]]:
    for cell in cells:
        if cell.accuracy is None or not known.get(cell.model):
            continue
        for metric in ("", *(("pm0",) if "pm0" in cell.metrics else ())):
            if rows := figures.of(known[cell.model], cell.id, on, metric):
                yield rows, cell, metric


def _compared(rows: Sequence[Published], cell: Result, metric: str, among: int) -> Comparison:
    assert cell.accuracy is not None
    assert cell.ci95 is not None
    value, ci95 = cell.accuracy, cell.ci95
    if metric:
        value = cell.metrics[metric]
        ci95 = cell.metrics[f"{metric}_ci95_low"], cell.metrics[f"{metric}_ci95_high"]
    of = max((row.n or 0 for row in rows), default=0)
    whole = cell.n >= of > 0
    status, reason = status_of(rows, value, ci95, cell.n, among)
    if status == AGREES and not whole and cell.condition in _UNEVEN:
        status, reason = OPEN, "a sample has as many images of each class, the set has not; compare all images"
    nearest = min(rows, key=lambda row: abs(row.value - value))
    return Comparison(
        model=cell.model,
        role=cell.role,
        known=nearest.model,
        condition=f"{cell.label} pm-0" if metric else cell.label,
        published=nearest.value,
        tolerance=nearest.tolerance,
        source=nearest.source,
        value=value,
        ci95=ci95,
        n=cell.n,
        status=status,
        reason=reason,
    )


def status_of(
    rows: Sequence[Published], value: float, ci95: tuple[float, float], n: int, among: int = 1
) -> tuple[str, str]:
    """Whether a figure agrees with one of the published ones, or lies between them, and what it could tell."""
    of = max((row.n or 0 for row in rows), default=0)
    part = math.sqrt(max(0.0, 1 - n / of)) if of else 1.0
    wider = part * float(ndtri(1 - 0.025 / among) / ndtri(0.975))
    low, high = value - wider * (value - ci95[0]), value + wider * (ci95[1] - value)
    least, most = min(row.value - row.tolerance for row in rows), max(row.value + row.tolerance for row in rows)
    slack = 1e-9  # shares are rounded
    tells = max(high - value, value - low) + max(row.tolerance for row in rows)
    if high < least - slack or low > most + slack:
        return DIFFERS, ""
    if tells > _TELLING:
        return OPEN, f"so few images show differences beyond {100 * tells:.1f} points alone; compare more"
    return AGREES, f"differences beyond {100 * tells:.1f} points would show"
