"""Attacks: security curves, smallest perturbations, words written on images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clip_robustness.conditions.condition import CLEAN
from clip_robustness.reports.decisions import accuracy_limit, bound
from clip_robustness.reports.figures.axes import (
    Models,
    Panels,
    attack_name,
    eps_of,
    grouped,
    lazily,
    legend,
    limit_at,
    percent_axis,
    row_names,
    who,
)
from clip_robustness.reports.svg import INK, LINE, SERIES, plain
from clip_robustness.reports.table import share
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEVER = 255.0
_TICKS_OF_EPS = 8


def security(results: Results, models: Models) -> Panels:
    """A panel an attack: accuracy against eps, from the clean accuracy at 0."""
    clean = {(c.role, c.model): c for c in results.cells if (c.family, c.condition) == ("clean", CLEAN.name)}
    fixed = [c for c in models.shown(results.cells) if c.family == "adversarial" and eps_of(c) is not None]
    for attack, own in grouped(fixed, attack_name).items():
        curves = {key: sorted(curve, key=lambda c: eps_of(c) or 0) for key, curve in grouped(own, who).items()}
        grid = sorted({eps_of(c) or 0 for c in own})

        def draw(
            ax: Axes,
            attack: str = attack,
            curves: dict[tuple[str, str], list[Result]] = curves,
            grid: list[float] = grid,
        ) -> None:
            origin = np.log2(grid[0]) - 1.3
            for key, curve in curves.items():
                colour, marker = models.look(curve[0])
                points = [(origin, clean[key])] if key in clean and clean[key].accuracy is not None else []
                points += [(np.log2(eps_of(c) or 0), c) for c in curve]
                line = "-" if curve[0].role == "candidate" else "--"
                values = [100 * (c.accuracy or 0) for _, c in points]
                ax.plot([x for x, _ in points], values, line + marker, color=colour, label=plain(curve[0].model, 28))
                ends = np.array([c.ci95 for _, c in points if c.ci95 is not None]) * 100
                ax.vlines([x for x, _ in points], *ends.T, color=colour, linewidth=0.8)
                limits = [(x, 100 * b) for x, c in points if (b := accuracy_limit(c)) is not None]
                for x, limit in limits:
                    ax.hlines(limit, x - 0.18, x + 0.18, color=INK, linewidth=1.6, zorder=3)
            shown = grid[:: -(-len(grid) // _TICKS_OF_EPS)]
            ax.set_xticks([origin, *np.log2(shown)], ["0", *(f"{e:g}" for e in shown)])
            percent_axis(ax, attack)
            ax.set_xlabel("eps, 1/255")
            legend(ax)

        alt = f"{attack}, accuracy by eps: " + "; ".join(
            f"{model} " + ", ".join(f"{share(c.accuracy)} at {eps_of(c):g}/255" for c in curve)
            for (_, model), curve in curves.items()
        )
        yield lazily(draw, alt, "security")


def smallest(results: Results, models: Models) -> Panels:
    """A panel an attack: the share of images that an eps is enough for."""
    for attack, own in grouped(
        (c for c in models.shown(results.cells) if c.smallest_eps), lambda c: c.condition
    ).items():
        curves = list({who(c): c for c in own}.values())  # of deepfool every eps has the same search

        def draw(ax: Axes, attack: str = attack, curves: list[Result] = curves) -> None:
            found = np.array([c.smallest_eps for c in curves])
            moved = found[(found > 0) & (found < _NEVER)]
            left = moved.min() / 1.5 if len(moved) else 0.1
            for cell in curves:
                colour, _ = models.look(cell)
                eps = np.array(cell.smallest_eps)
                levels = np.linspace(0, 100, len(eps))
                line = "-" if cell.role == "candidate" else "--"
                fooled = eps < _NEVER
                ax.step(
                    np.maximum(eps[fooled], left), levels[fooled], line, where="post", color=colour,
                    label=plain(cell.model, 28),
                )  # fmt: skip
                if (limit := bound(cell, "min_median_eps")) is not None:
                    ax.vlines(limit, 40, 60, color=INK, linewidth=1.6, zorder=3)
            ax.set_xscale("log")
            ax.minorticks_off()
            low, high = left, max(moved.max(initial=1) * 1.2, left * 4)
            ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= t <= high]
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.set_xlim(low, high)
            percent_axis(ax, attack, "images fooled, %")
            ax.set_xlabel("smallest eps, 1/255")
            legend(ax)

        alt = f"{attack}, smallest eps in 1/255: " + "; ".join(
            f"{c.model} quartiles " + ", ".join(_fooled(c.smallest_eps[i]) for i in (5, 10, 15)) for c in curves
        )
        yield lazily(draw, alt, "smallest")


def _fooled(eps: float) -> str:
    return "not fooled" if eps > _NEVER else f"{eps:.2g}"


def typographic(results: Results, models: Models) -> Panels:
    """What is named: what is shown, what is written, or something else."""
    for label, own in grouped(
        (c for c in models.shown(results.cells) if "reads_the_word" in c.metrics), lambda c: c.label
    ).items():

        def draw(ax: Axes, label: str = label, own: list[Result] = own) -> None:
            rows = own[::-1]
            shown = np.array([100 * (c.accuracy or 0) for c in rows])
            written = np.array([100 * c.metrics["reads_the_word"] for c in rows])
            left = np.zeros(len(rows))
            rest = 100 - shown - written
            parts = (
                ("what is shown", shown, SERIES[0]),
                ("the written word", written, SERIES[1]),
                ("other", rest, LINE),
            )
            for name, width, colour in parts:
                ax.barh(range(len(rows)), width, left=left, color=colour, label=name, height=0.6)
                left = left + width
            for y, cell in enumerate(rows):
                if (limit := accuracy_limit(cell)) is not None:
                    limit_at(ax, 100 * limit, y)
            row_names(ax, [plain(c.model, 28) for c in rows], label)
            ax.set_xlim(0, 100)
            ax.set_xlabel("predictions, %")
            legend(ax)

        alt = f"{label}: " + "; ".join(
            f"{c.model} names what is shown in {share(c.accuracy)}%, the word in {share(c.metrics['reads_the_word'])}%"
            for c in own
        )
        yield lazily(draw, alt, "typographic", (3.6, 0.9 + 0.25 * len(own)))
