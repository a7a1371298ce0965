"""Corruptions as heat maps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from clip_robustness.reports.figures.axes import Models, Panels, grouped, lazily, row_names
from clip_robustness.reports.svg import PAPER, Panel, plain
from clip_robustness.reports.table import interval, share
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = 17
"""Characters in a line of a column's head."""


def corruptions(results: Results, models: Models) -> Panels:
    """A heat map a model, corruptions by severities; where there is one severity alone, one by models."""
    for name, own in grouped(
        (c for c in models.shown(results.cells) if "corruption" in c.params), lambda c: c.condition
    ).items():
        severities = sorted({int(c.params["severity"]) for c in own})
        rows = list(dict.fromkeys(str(c.params["corruption"]) for c in own))
        if len(severities) == 1:
            columns = list(dict.fromkeys(c.model for c in own))
            values = {(str(c.params["corruption"]), c.model): c for c in own}
            yield _heat(f"{name}, severity {severities[0]}", rows, columns, values)
            continue
        for model, theirs in grouped(own, lambda c: c.model).items():
            at = {(str(c.params["corruption"]), str(c.params["severity"])): c for c in theirs}
            mce = [s for s in results.summaries if (s.model, s.name) == (model, f"{name} mCE") and s.value is not None]
            below = "".join(f"; mCE {share(s.value)} {interval(s.ci95)}" for s in mce)
            yield _heat(f"{name}, {plain(model, 32)}", rows, [str(s) for s in severities], at, f"severity{below}")


def _heat(
    title: str, rows: list[str], columns: list[str], cells: dict[tuple[str, str], Result], below: str = ""
) -> Callable[[], Panel]:
    shares = np.full((len(rows), len(columns)), np.nan)
    for (row, column), cell in cells.items():
        shares[rows.index(row), columns.index(column)] = 100 * (cell.accuracy or 0)

    heads = [_head(plain(column, 3 * _HEAD)) for column in columns]
    longest, lines = max(len(line) for h in heads for line in h.split("\n")), max(h.count("\n") + 1 for h in heads)

    def draw(ax: Axes) -> None:
        ax.pcolormesh(shares, cmap="cividis", vmin=0, vmax=100, edgecolors=PAPER, linewidth=0.8)
        for (y, x), value in np.ndenumerate(shares):
            if not np.isnan(value):
                colour = "white" if value < 55 else "black"
                ax.text(x + 0.5, y + 0.5, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7)
        row_names(ax, rows, title, middle=0.5)
        ax.invert_yaxis()
        ax.set_xticks(np.arange(len(columns)) + 0.5, heads)
        ax.set_xlabel(below)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    alt = f"{title}, accuracy in percent: " + "; ".join(f"{r} {c} {share(x.accuracy)}" for (r, c), x in cells.items())
    width = max(0.45 * max(len(columns), 3), (0.1 + 0.065 * longest) * len(columns))
    return lazily(draw, alt, "corruption", (1.5 + width, 0.6 + 0.11 * lines + 0.19 * len(rows)))


def _head(name: str) -> str:
    """In lines that end where a spec has a mark."""
    lines = [""]
    for part in re.findall(r"[^:@?=/·]+[:@?=/·]*|.", name):
        if len(lines[-1]) + len(part) > _HEAD and lines[-1]:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
