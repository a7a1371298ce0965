"""What all figures share: who is drawn and how, and the parts of axes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clip_robustness.conditions.condition import SEARCH
from clip_robustness.conditions.eps import parse_eps
from clip_robustness.errors import InputError
from clip_robustness.reports.svg import BASELINE, INK, SERIES, Panel, panel, plain
from clip_robustness.results.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

K = TypeVar("K", bound=Hashable)
Panels = Iterator[Callable[[], Panel]]
"""Each draws when it is called: what is left out costs nothing."""
MODELS = 6
"""Candidates in a figure, and as many baselines: more lines nobody can tell apart."""
ROWS = 40
_MARKERS = {"candidate": "oD^vPX", "supervised": "sdph*8"}


@dataclass(frozen=True)
class Models:
    """Who is drawn, and how: candidates in colour, baselines in grey."""

    order: tuple[tuple[str, str], ...]

    def of(self, cell: Result) -> int | None:
        key = (cell.role, cell.model)
        return self.order.index(key) if key in self.order else None

    def shown(self, cells: Iterable[Result]) -> list[Result]:
        found = [cell for cell in cells if cell.accuracy is not None and self.of(cell) is not None]
        return sorted(found, key=lambda cell: self.of(cell) or 0)

    def look(self, cell: Result) -> tuple[str, str]:
        """Colour and marker."""
        number = [key for key in self.order if key[0] == cell.role].index((cell.role, cell.model))
        marker = _MARKERS[cell.role][number]
        return (SERIES[number % len(SERIES)] if cell.role == "candidate" else BASELINE), marker


def row_names(ax: Axes, names: Sequence[str], title: str, middle: float = 0.0) -> None:
    ax.set_yticks(np.arange(len(names)) + middle, [plain(name, 36) for name in names])
    heading(ax, title)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if not middle:
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.grid(axis="x")
        ax.set_axisbelow(True)


def percent_axis(ax: Axes, title: str, axis: str = "accuracy, %") -> None:
    heading(ax, title)
    ax.set_ylim(-2, 102)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.set_ylabel(axis)


def heading(ax: Axes, text: str) -> None:
    ax.figure.suptitle(plain(text, 52), x=0.01, ha="left")


def legend(ax: Axes) -> None:
    """Below the axes, as many names in a row as fit."""
    handles, names = ax.get_legend_handles_labels()
    columns = 3 if sum(map(len, names)) < 40 else 2 if max(map(len, names), default=0) < 18 else 1
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + 0.16 * -(-len(names) // columns))
    figure.legend(
        handles, names, loc="outside lower left", ncols=columns, handlelength=1.6, columnspacing=1.2, borderpad=0
    )


def limit_at(ax: Axes, value: float, row: float) -> None:
    """The limit of a row: a bar across it."""
    ax.vlines(value, row - 0.38, row + 0.38, color=INK, linewidth=1.6, zorder=3)


def tall(rows: Sequence[Result]) -> tuple[float, float]:
    return 3.6, 0.75 + 0.17 * max(len(rows), 2)


def lazily(
    draw: Callable[[Axes], None], alt: str, key: str, size: tuple[float, float] = (3.3, 2.4)
) -> Callable[[], Panel]:
    unique = f"{key}-{hashlib.sha256(alt.encode()).hexdigest()[:8]}"
    return lambda: panel(draw, alt, unique, size)


def grouped(cells: Iterable[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    groups: dict[K, list[Result]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    return dict(groups)


def who(cell: Result) -> tuple[str, str]:
    return cell.role, cell.model


def attack_name(cell: Result) -> str:
    return " ".join([cell.condition, *(str(v) for k, v in cell.params.items() if k != "eps")])


def eps_of(cell: Result) -> float | None:
    """In 1/255, where the cell was measured at one."""
    written = cell.params.get("eps", SEARCH)
    try:
        return float(255 * parse_eps(str(written)))
    except InputError:
        return None


def dots(
    title: str,
    axis: str,
    cells: list[Result],
    models: Models,
    row: Callable[[Result], str],
    figure: Callable[[Result], tuple[float, float, float]],
    limit: Callable[[Result], float | None],
) -> Callable[[], Panel]:
    """A row a condition, a dot with its interval a model, a bar at the limit."""
    names = list(dict.fromkeys(row(c) for c in cells))[:ROWS]
    drawn = list(dict.fromkeys(who(c) for c in cells))

    def draw(ax: Axes) -> None:
        labelled = set()
        for cell in cells:
            if row(cell) not in names:
                continue
            colour, marker = models.look(cell)
            step = min(0.18, 0.8 / len(drawn))
            y = len(names) - 1 - names.index(row(cell)) + step * ((len(drawn) - 1) / 2 - drawn.index(who(cell)))
            value, low, high = (100 * x for x in figure(cell))
            ax.plot([low, high], [y, y], color=colour)
            label = None if who(cell) in labelled else plain(cell.model, 28)
            ax.plot(value, y, marker, color=colour, label=label, linestyle="none")
            labelled.add(who(cell))
            if (bound := limit(cell)) is not None:
                limit_at(ax, 100 * bound, len(names) - 1 - names.index(row(cell)))
        row_names(ax, names[::-1], title)
        ax.set_xlabel(axis)
        ax.set_xlim(left=0)
        legend(ax)

    alt = f"{title}, {axis} " + "; ".join(f"{row(c)} {c.model} {100 * figure(c)[0]:.1f}" for c in cells)
    return lazily(draw, alt, "dots", (3.6, 0.8 + max(0.19, 0.08 * len(drawn)) * len(names)))


def accuracy_of(cell: Result) -> tuple[float, float, float]:
    assert cell.accuracy is not None
    return (cell.accuracy, *(cell.ci95 or (cell.accuracy, cell.accuracy)))
