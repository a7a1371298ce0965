"""Natural shifts: accuracy under a shift against clean accuracy, on logit axes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clip_robustness.conditions.condition import CLEAN, reference
from clip_robustness.conditions.condition import natural as shift
from clip_robustness.metrics.trend import published, published_accuracies
from clip_robustness.reports.decisions import bound
from clip_robustness.reports.figures.axes import Models, Panels, grouped, heading, lazily, legend
from clip_robustness.reports.svg import INK, SOFT, plain
from clip_robustness.reports.table import share
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_EDGE = 0.004
"""Of the logit axes: shares nearer to 0 or 1 are drawn there."""
_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


def natural(results: Results, models: Models) -> Panels:
    """Accuracy under a shift against the clean accuracy on the same classes."""
    known = {(c.condition, c.role, c.model): c for c in results.cells if c.accuracy is not None}
    on_imagenet = any("effective_robustness" in cell.metrics for cell in results.cells)
    for (label, name), own in grouped(
        (c for c in models.shown(results.cells) if c.family == "natural"), lambda c: (c.label, c.condition)
    ).items():
        try:
            start = reference(shift(name)).name
        except ValueError:
            start = CLEAN.name
        pairs = [(known[start, c.role, c.model], c) for c in own if (start, c.role, c.model) in known]
        if not pairs:
            continue
        cloud = published_accuracies(name) if on_imagenet else None

        def draw(
            ax: Axes,
            pairs: list[tuple[Result, Result]] = pairs,
            cloud: NDArray[np.float64] | None = cloud,
            name: str = name,
            label: str = label,
        ) -> None:
            ends = [[e for c in side for e in c.ci95 or ()] for side in zip(*pairs, strict=True)]
            if cloud is not None:
                _trend(
                    ax, name, cloud, {b for _, c in pairs if (b := bound(c, "min_effective_robustness")) is not None}
                )
                ends = [end + cloud[:, i].tolist() for i, end in enumerate(ends)]
            ax.set_xlim(_logit_axis(ax.xaxis, ends[0]))
            ax.set_ylim(_logit_axis(ax.yaxis, ends[1]))
            low, high = max(ax.get_xlim()[0], ax.get_ylim()[0]), min(ax.get_xlim()[1], ax.get_ylim()[1])
            if low < high:
                ax.plot([low, high], [low, high], color=SOFT, linewidth=0.7, dashes=(4, 3))
            for clean, shifted in pairs:
                colour, marker = models.look(shifted)
                assert clean.ci95 is not None
                assert shifted.ci95 is not None
                (cx, cy), (xs, ys) = (
                    _at([clean.accuracy or 0, shifted.accuracy or 0]),
                    (_at(clean.ci95), _at(shifted.ci95)),
                )
                ax.plot(xs, [cy, cy], color=colour, linewidth=0.9)
                ax.plot([cx, cx], ys, color=colour, linewidth=0.9)
                ax.plot(cx, cy, marker, color=colour, label=plain(shifted.model, 28))
            heading(ax, label)
            ax.set_xlabel("clean accuracy, %")
            ax.set_ylabel("accuracy under the shift, %")
            legend(ax)

        alt = f"{label}: " + "; ".join(f"{c.model} {share(a.accuracy)} clean, {share(c.accuracy)}" for a, c in pairs)
        yield lazily(draw, alt, "natural", (3.3, 2.9))


def _trend(ax: Axes, name: str, cloud: NDArray[np.float64], limits: Set[float]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    # short lines with round ends, one path instead of a thousand marks
    dots = np.stack([_at(cloud), _at(cloud) + np.array((0.003, 0))], axis=1).reshape(-1, 2)
    path = Path(dots, np.tile([Path.MOVETO, Path.LINETO], len(cloud)))
    path.should_simplify = False
    ax.add_patch(PathPatch(path, edgecolor=SOFT, alpha=0.3, linewidth=1.8, capstyle="round", fill=False))
    trend = published(name)
    assert trend is not None
    clean = np.linspace(cloud[:, 0].min(), min(cloud[:, 0].max(), 1 - _EDGE), 40)
    low, high = zip(*(trend.band(x) for x in clean), strict=True)
    ax.fill_between(_at(clean), _at(low), _at(high), color=SOFT, alpha=0.25, linewidth=0)
    ax.plot(_at(clean), _at([trend(x) for x in clean]), color=SOFT, label=f"trend of {trend.models} models")
    for limit in limits:
        above = _at([trend(x) + limit for x in clean])
        ax.plot(_at(clean), above, color=INK, linewidth=0.9, dashes=(1, 1.5), label=f"limit, {100 * limit:+g} points")


def _at(shares: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(shares, float), _EDGE, 1 - _EDGE)))


def _logit_axis(axis: Axis, shares: Sequence[float]) -> tuple[float, float]:
    """Set the ticks; returns the limits."""
    places = _at(shares)
    low, high = places.min() - 0.3, places.max() + 0.3
    ticks = [t for t in _TICKS if low <= logit(t) <= high]
    ticks = ticks[:: 2 if len(ticks) > 8 else 1]
    axis.set_ticks([logit(t) for t in ticks], [f"{100 * t:g}" for t in ticks])
    return low, high
