"""Differences in points: to the supervised baseline, and to a recorded run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_robustness.reports.decisions import bound
from clip_robustness.reports.figures.axes import ROWS, Models, Panels, grouped, lazily, limit_at, row_names, tall
from clip_robustness.reports.svg import BAD, GOOD, PAPER, SERIES, SOFT, plain
from clip_robustness.reports.table import share
from clip_robustness.results.result import Figure, Result
from clip_robustness.results.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS_IN_DIFFERENCES = 22
_LABELS = 24
"""Characters of a row's name: all panels have the same room for them, so that their scales stand below each other."""
_VERDICTS = {
    "pass": (GOOD, "o"),
    "not gated": (SOFT, "s"),
    "inconclusive": (SOFT, "o"),
    "known weakness": (SERIES[1], "D"),
    "fail": (BAD, "X"),
    "error": (BAD, "X"),
    "improved": (BAD, "^"),
}
_DROPS = ("max_drop_vs_supervised", "min_drop_vs_supervised")


def differences(results: Results, models: Models) -> Panels:
    """A panel a candidate and family: the difference to the baseline, its limit, and whether the gate minds."""
    compared = [c for c in models.shown(results.cells) if c.difference]
    groups = grouped(compared, lambda c: (c.model, c.family))
    many = len({model for model, _ in groups})
    if many > 3:  # the matrix of all models says more
        return
    scale = _scale((c.difference, bound(c, *_DROPS)) for c in compared)
    for (model, family), own in groups.items():
        ordered = sorted(own, key=lambda c: c.difference.value if c.difference else 0)[:ROWS]
        parts = np.array_split(np.arange(len(ordered)), -(-len(ordered) // _ROWS_IN_DIFFERENCES))
        for i, part in enumerate(parts):
            rows = [ordered[k] for k in part[::-1]]
            title = f"{family}, {plain(model, 28)}" if many > 1 else family
            title += ", continued" if i else f", largest losses of {len(own)}" if len(own) > ROWS else ""

            def draw(ax: Axes, rows: list[Result] = rows, title: str = title) -> None:
                for y, cell in enumerate(rows):
                    assert cell.difference is not None
                    colour, marker = _VERDICTS.get(cell.verdict, (SOFT, "s"))
                    face = PAPER if cell.verdict == "inconclusive" else colour
                    _difference(ax, y, cell.difference, bound(cell, *_DROPS), colour, marker, face)
                _finished(ax, rows, title, "difference, points", scale)

            alt = f"{family}, {model}: " + "; ".join(
                f"{c.label} {share(c.difference.value, '+')} ({c.verdict})" for c in rows[::-1] if c.difference
            )
            yield lazily(draw, alt, "difference", tall(rows))


def regression(results: Results, models: Models) -> Panels:
    """A panel a candidate: the paired difference to the recorded run, and its limit."""
    compared = [c for c in models.shown(results.cells) if c.regression and c.regression.difference]
    scale = _scale((c.regression.difference, bound(c, "max_regression")) for c in compared if c.regression)
    for model, own in grouped(compared, lambda c: c.model).items():
        rows = sorted(own, key=_change)
        rows = (rows[: ROWS // 2] + rows[-ROWS // 2 :] if len(rows) > ROWS else rows)[::-1]

        def draw(ax: Axes, rows: list[Result] = rows, model: str = model) -> None:
            for y, cell in enumerate(rows):
                assert cell.regression is not None
                assert cell.regression.difference is not None
                low, high = cell.regression.difference.ci95
                colour, marker = (BAD, "v") if high < 0 else (GOOD, "^") if low > 0 else (SOFT, "o")
                _difference(ax, y, cell.regression.difference, bound(cell, "max_regression"), colour, marker, colour)
            _finished(ax, rows, plain(model), "now minus before, points", scale)

        alt = f"{model}, now minus before: " + "; ".join(f"{c.label} {share(_change(c), '+')}" for c in rows[::-1])
        yield lazily(draw, alt, "regression", tall(rows))


def _change(cell: Result) -> float:
    assert cell.regression is not None
    assert cell.regression.difference is not None
    return cell.regression.difference.value


def _scale(shown: Iterable[tuple[Figure | None, float | None]]) -> tuple[float, float]:
    """From the least to the largest end of an interval or limit, in points, with 0 and some room."""
    ends = [0.0]
    for figure, limit in shown:
        ends += [100 * end for end in (*(figure.ci95 if figure else ()), *(() if limit is None else (limit,)))]
    margin = 0.04 * (max(ends) - min(ends))
    return min(ends) - margin, max(ends) + margin


def _difference(ax: Axes, row: int, figure: Figure, limit: float | None, colour: str, marker: str, face: str) -> None:
    ax.plot([100 * end for end in figure.ci95], [row, row], color=colour)
    size = 6 if marker == "X" else 4
    ax.plot(100 * figure.value, row, marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=0.8)
    if limit is not None:
        limit_at(ax, 100 * limit, row)


def _finished(ax: Axes, rows: Sequence[Result], title: str, axis: str, scale: tuple[float, float]) -> None:
    row_names(ax, [plain(c.label, _LABELS) for c in rows], title)
    ax.axvline(0, color=SOFT, linewidth=0.7)
    ax.set_xlim(scale)
    ax.set_xlabel(axis)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.set_layout_engine("none")
    height = figure.get_figheight()
    ax.set_position((0.42, 0.4 / height, 0.56, 1 - 0.64 / height))
