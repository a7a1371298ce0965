"""The figures of a report, drawn from its cells alone: what there is no cell for, there is no figure of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clip_robustness.conditions.condition import CLEAN, SEARCH, natural, parse_eps, reference
from clip_robustness.errors import InputError
from clip_robustness.metrics.trend import published, published_accuracies
from clip_robustness.reports.svg import BAD, BASELINE, GOOD, LINE, PAPER, SERIES, SOFT, Panel, panel, plain, style
from clip_robustness.reports.table import interval, share
from clip_robustness.results.results import FAMILIES, Result, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

K = TypeVar("K", bound=Hashable)
_MODELS = 6
"""Candidates in a figure, and as many baselines: more lines nobody can tell apart."""
_ROWS = 40
_ROWS_IN_DIFFERENCES = 22
_PANELS = 16
_MARKERS = {"candidate": "oD^vPX", "supervised": "sdph*8"}
_EDGE = 0.004
"""Of the logit axes: shares nearer to 0 or 1 are drawn there."""
_NEVER = 255.0
_TICKS_OF_EPS = 8


@dataclass(frozen=True)
class Plot:
    """A figure: an anchor, a heading, a caption, and its panels."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class _Models:
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


def plots(results: Results) -> list[Plot]:
    """All figures that the cells are enough for."""
    on_imagenet = any("effective_robustness" in cell.metrics for cell in results.cells)
    everyone = dict.fromkeys((cell.role, cell.model) for cell in results.cells if cell.accuracy is not None)
    if not everyone:
        return []
    by_role = {role: [key for key in everyone if key[0] == role][:_MODELS] for role in ("candidate", "supervised")}
    models = _Models(tuple(key for keys in by_role.values() for key in keys))
    left_out = len(everyone) - len(models.order)
    note = f" Drawn are the first {_MODELS} of each role; the table has all models." if left_out else ""
    made = []
    with style():
        for key, title, caption, draw in _FIGURES:
            if panels := list(draw(results, models)):
                cut = f" {len(panels) - _PANELS} more are left out." if len(panels) > _PANELS else ""
                more = _TREND if key == "natural" and on_imagenet else ""
                made.append(Plot(key, title, caption + more + note + cut, tuple(p() for p in panels[:_PANELS])))
    return made


Panels = Iterator[Callable[[], Panel]]
"""Each draws when it is called: what is left out costs nothing."""


def _differences(results: Results, models: _Models) -> Panels:
    """A panel a candidate and family: the difference to the baseline, and whether the gate minds."""
    groups = _grouped((c for c in models.shown(results.cells) if c.difference), lambda c: (c.model, c.family))
    if len({model for model, _ in groups}) > 3:  # the matrix of all models says more
        return
    ends = {model: [100 * e for c in results.cells if c.model == model and c.difference for e in c.difference.ci95]
            for model, _ in groups}  # fmt: skip
    for (model, family), own in groups.items():
        ordered = sorted(own, key=lambda c: c.difference.value if c.difference else 0)[:_ROWS]
        parts = np.array_split(np.arange(len(ordered)), -(-len(ordered) // _ROWS_IN_DIFFERENCES))
        for i, part in enumerate(parts):
            rows = [ordered[k] for k in part[::-1]]
            title = f"{family}, {plain(model, 28)}" if len({m for m, _ in groups}) > 1 else family
            title += ", continued" if i else f", largest losses of {len(own)}" if len(own) > _ROWS else ""

            def draw(ax: Axes, rows: list[Result] = rows, title: str = title, ends: list[float] = ends[model]) -> None:
                for y, cell in enumerate(rows):
                    assert cell.difference is not None
                    colour, marker = _VERDICTS.get(cell.verdict, (SOFT, "s"))
                    low, high = cell.difference.ci95
                    ax.plot([100 * low, 100 * high], [y, y], color=colour)
                    face = PAPER if cell.verdict == "inconclusive" else colour
                    value, size = 100 * cell.difference.value, 6 if marker == "X" else 4
                    ax.plot(value, y, marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=0.8)
                _rows(ax, [c.label for c in rows], title)
                ax.axvline(0, color=SOFT, linewidth=0.7)
                margin = 0.04 * (max(*ends, 0) - min(*ends, 0))
                ax.set_xlim(min(*ends, 0) - margin, max(*ends, 0) + margin)  # the same for all families
                ax.set_xlabel("difference, points")

            alt = f"{family}, {model}: " + "; ".join(
                f"{c.label} {share(c.difference.value, '+')} ({c.verdict})" for c in rows[::-1] if c.difference
            )
            yield _lazily(draw, alt, "difference", _tall(rows))


_VERDICTS = {
    "pass": (GOOD, "o"),
    "not gated": (SOFT, "s"),
    "inconclusive": (SOFT, "o"),
    "known weakness": (SERIES[1], "D"),
    "fail": (BAD, "X"),
    "error": (BAD, "X"),
    "improved": (BAD, "^"),
}


def _natural(results: Results, models: _Models) -> Panels:
    """Accuracy under a shift against the clean accuracy on the same classes."""
    known = {(c.condition, c.role, c.model): c for c in results.cells if c.accuracy is not None}
    on_imagenet = any("effective_robustness" in cell.metrics for cell in results.cells)
    for (label, name), own in _grouped(
        (c for c in models.shown(results.cells) if c.family == "natural"), lambda c: (c.label, c.condition)
    ).items():
        try:
            start = reference(natural(name)).name
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
                _trend(ax, name, cloud)
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
            _title(ax, label)
            ax.set_xlabel("clean accuracy, %")
            ax.set_ylabel("accuracy under the shift, %")
            _legend(ax)

        alt = f"{label}: " + "; ".join(f"{c.model} {share(a.accuracy)} clean, {share(c.accuracy)}" for a, c in pairs)
        yield _lazily(draw, alt, "natural", (3.3, 2.9))


def _trend(ax: Axes, name: str, cloud: NDArray[np.float64]) -> None:
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


def _at(shares: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(shares, float), _EDGE, 1 - _EDGE)))


_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


def _logit_axis(axis: Axis, shares: Sequence[float]) -> tuple[float, float]:
    """Set the ticks; returns the limits."""
    places = _at(shares)
    low, high = places.min() - 0.3, places.max() + 0.3
    ticks = [t for t in _TICKS if low <= logit(t) <= high]
    ticks = ticks[:: 2 if len(ticks) > 8 else 1]
    axis.set_ticks([logit(t) for t in ticks], [f"{100 * t:g}" for t in ticks])
    return low, high


def _corruptions(results: Results, models: _Models) -> Panels:
    """A heat map a model, corruptions by severities; where there is one severity alone, one by models."""
    for name, own in _grouped(
        (c for c in models.shown(results.cells) if "corruption" in c.params), lambda c: c.condition
    ).items():
        severities = sorted({int(c.params["severity"]) for c in own})
        rows = list(dict.fromkeys(str(c.params["corruption"]) for c in own))
        if len(severities) == 1:
            columns = list(dict.fromkeys(c.model for c in own))
            values = {(str(c.params["corruption"]), c.model): c for c in own}
            yield _heat(f"{name}, severity {severities[0]}", rows, columns, values)
            continue
        for model, theirs in _grouped(own, lambda c: c.model).items():
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

    def draw(ax: Axes) -> None:
        ax.pcolormesh(shares, cmap="cividis", vmin=0, vmax=100, edgecolors=PAPER, linewidth=0.8)
        for (y, x), value in np.ndenumerate(shares):
            if not np.isnan(value):
                colour = "white" if value < 55 else "black"
                ax.text(x + 0.5, y + 0.5, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7)
        _rows(ax, rows, title, middle=0.5)
        ax.invert_yaxis()
        names = [plain(c, 20) for c in columns]
        ax.set_xticks(np.arange(len(columns)) + 0.5, names, rotation=0 if len(max(names, key=len)) < 12 else 20)
        ax.set_xlabel(below)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    alt = f"{title}, accuracy in percent: " + "; ".join(f"{r} {c} {share(x.accuracy)}" for (r, c), x in cells.items())
    return _lazily(draw, alt, "corruption", (1.5 + 0.45 * max(len(columns), 3), 0.7 + 0.19 * len(rows)))


def _security(results: Results, models: _Models) -> Panels:
    """A panel an attack: accuracy against eps, from the clean accuracy at 0."""
    clean = {(c.role, c.model): c for c in results.cells if (c.family, c.condition) == ("clean", CLEAN.name)}
    fixed = [c for c in models.shown(results.cells) if c.family == "adversarial" and _eps(c) is not None]
    for attack, own in _grouped(fixed, _attack).items():
        curves = {key: sorted(curve, key=lambda c: _eps(c) or 0) for key, curve in _grouped(own, _who).items()}
        grid = sorted({_eps(c) or 0 for c in own})

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
                points += [(np.log2(_eps(c) or 0), c) for c in curve]
                line = "-" if curve[0].role == "candidate" else "--"
                values = [100 * (c.accuracy or 0) for _, c in points]
                ax.plot([x for x, _ in points], values, line + marker, color=colour, label=plain(curve[0].model, 28))
                ends = np.array([c.ci95 for _, c in points if c.ci95 is not None]) * 100
                ax.vlines([x for x, _ in points], *ends.T, color=colour, linewidth=0.8)
            shown = grid[:: -(-len(grid) // _TICKS_OF_EPS)]
            ax.set_xticks([origin, *np.log2(shown)], ["0", *(f"{e:g}" for e in shown)])
            _percent(ax, attack)
            ax.set_xlabel("eps, 1/255")
            _legend(ax)

        alt = f"{attack}, accuracy by eps: " + "; ".join(
            f"{model} " + ", ".join(f"{share(c.accuracy)} at {_eps(c):g}/255" for c in curve)
            for (_, model), curve in curves.items()
        )
        yield _lazily(draw, alt, "security")


def _smallest(results: Results, models: _Models) -> Panels:
    """A panel an attack: the share of images that an eps is enough for."""
    for attack, own in _grouped(
        (c for c in models.shown(results.cells) if c.smallest_eps), lambda c: c.condition
    ).items():
        curves = list({_who(c): c for c in own}.values())  # of deepfool every eps has the same search

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
            ax.set_xscale("log")
            ax.minorticks_off()
            low, high = left, max(moved.max(initial=1) * 1.2, left * 4)
            ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= t <= high]
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.set_xlim(low, high)
            _percent(ax, attack, "images fooled, %")
            ax.set_xlabel("smallest eps, 1/255")
            _legend(ax)

        alt = f"{attack}, smallest eps in 1/255: " + "; ".join(
            f"{c.model} quartiles " + ", ".join(_fooled(c.smallest_eps[i]) for i in (5, 10, 15)) for c in curves
        )
        yield _lazily(draw, alt, "smallest")


def _fooled(eps: float) -> str:
    return "not fooled" if eps > _NEVER else f"{eps:.2g}"


def _typographic(results: Results, models: _Models) -> Panels:
    """What is named: what is shown, what is written, or something else."""
    for label, own in _grouped(
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
            _rows(ax, [plain(c.model, 28) for c in rows], label)
            ax.set_xlim(0, 100)
            ax.set_xlabel("predictions, %")
            _legend(ax)

        alt = f"{label}: " + "; ".join(
            f"{c.model} names what is shown in {share(c.accuracy)}%, the word in {share(c.metrics['reads_the_word'])}%"
            for c in own
        )
        yield _lazily(draw, alt, "typographic", (3.6, 0.9 + 0.25 * len(own)))


def _flips(results: Results, models: _Models) -> Panels:
    own = [c for c in models.shown(results.cells) if "flip_probability" in c.metrics]
    for title, group in _grouped(own, lambda c: f"{c.condition}, difficulty {c.params['difficulty']}").items():
        yield _dots(title, "flip probability, %", group, models, lambda c: str(c.params["perturbation"]), _flip)


def _flip(cell: Result) -> tuple[float, float, float]:
    return tuple(cell.metrics[f"flip_probability{end}"] for end in ("", "_ci95_low", "_ci95_high"))  # type: ignore[return-value]


def _other_families(results: Results, models: _Models) -> Panels:
    """Overlap, and families that a later version adds: the accuracy of each condition."""
    own = [c for c in models.shown(results.cells) if c.family not in FAMILIES[:-1]]
    for title, group in _grouped(own, lambda c: f"{c.family}: {c.condition}").items():
        yield _dots(title, "accuracy, %", group, models, lambda c: c.label, _accuracy)


def _accuracy(cell: Result) -> tuple[float, float, float]:
    assert cell.accuracy is not None
    return (cell.accuracy, *(cell.ci95 or (cell.accuracy, cell.accuracy)))


def _dots(
    title: str,
    axis: str,
    cells: list[Result],
    models: _Models,
    row: Callable[[Result], str],
    figure: Callable[[Result], tuple[float, float, float]],
) -> Callable[[], Panel]:
    """A row a condition, a dot with its interval a model."""
    names = list(dict.fromkeys(row(c) for c in cells))[:_ROWS]
    drawn = list(dict.fromkeys(_who(c) for c in cells))

    def draw(ax: Axes) -> None:
        labelled = set()
        for cell in cells:
            if row(cell) not in names:
                continue
            colour, marker = models.look(cell)
            step = min(0.18, 0.8 / len(drawn))
            y = len(names) - 1 - names.index(row(cell)) + step * ((len(drawn) - 1) / 2 - drawn.index(_who(cell)))
            value, low, high = (100 * x for x in figure(cell))
            ax.plot([low, high], [y, y], color=colour)
            label = None if _who(cell) in labelled else plain(cell.model, 28)
            ax.plot(value, y, marker, color=colour, label=label, linestyle="none")
            labelled.add(_who(cell))
        _rows(ax, names[::-1], title)
        ax.set_xlabel(axis)
        ax.set_xlim(left=0)
        _legend(ax)

    alt = f"{title}, {axis} " + "; ".join(f"{row(c)} {c.model} {100 * figure(c)[0]:.1f}" for c in cells)
    return _lazily(draw, alt, "dots", (3.6, 0.8 + max(0.19, 0.08 * len(drawn)) * len(names)))


def _regression(results: Results, models: _Models) -> Panels:
    """A panel a candidate: the paired difference to the recorded run."""
    compared = [c for c in models.shown(results.cells) if c.regression and c.regression.difference]
    for model, own in _grouped(compared, lambda c: c.model).items():
        rows = sorted(own, key=_change)
        rows = (rows[: _ROWS // 2] + rows[-_ROWS // 2 :] if len(rows) > _ROWS else rows)[::-1]

        def draw(ax: Axes, rows: list[Result] = rows, model: str = model) -> None:
            for y, cell in enumerate(rows):
                assert cell.regression is not None
                assert cell.regression.difference is not None
                low, high = cell.regression.difference.ci95
                colour = BAD if high < 0 else GOOD if low > 0 else SOFT
                ax.plot([100 * low, 100 * high], [y, y], color=colour)
                ax.plot(
                    100 * cell.regression.difference.value,
                    y,
                    "v" if high < 0 else "^" if low > 0 else "o",
                    color=colour,
                )
            _rows(ax, [c.label for c in rows], plain(model))
            ax.axvline(0, color=SOFT, linewidth=0.7)
            ax.set_xlabel("now minus before, points")

        alt = f"{model}, now minus before: " + "; ".join(f"{c.label} {share(_change(c), '+')}" for c in rows[::-1])
        yield _lazily(draw, alt, "regression", _tall(rows))


def _change(cell: Result) -> float:
    assert cell.regression is not None
    assert cell.regression.difference is not None
    return cell.regression.difference.value


def _rows(ax: Axes, names: Sequence[str], title: str, middle: float = 0.0) -> None:
    ax.set_yticks(np.arange(len(names)) + middle, [plain(name, 36) for name in names])
    _title(ax, title)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if not middle:
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.grid(axis="x")
        ax.set_axisbelow(True)


def _percent(ax: Axes, title: str, axis: str = "accuracy, %") -> None:
    _title(ax, title)
    ax.set_ylim(-2, 102)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.set_ylabel(axis)


def _title(ax: Axes, text: str) -> None:
    ax.figure.suptitle(plain(text, 52), x=0.01, ha="left")


def _legend(ax: Axes) -> None:
    """Below the axes, as many names in a row as fit."""
    handles, names = ax.get_legend_handles_labels()
    columns = 3 if sum(map(len, names)) < 40 else 2 if max(map(len, names), default=0) < 18 else 1
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + 0.16 * -(-len(names) // columns))
    figure.legend(
        handles, names, loc="outside lower left", ncols=columns, handlelength=1.6, columnspacing=1.2, borderpad=0
    )


def _tall(rows: Sequence[Result]) -> tuple[float, float]:
    return 3.6, 0.75 + 0.17 * max(len(rows), 2)


def _lazily(
    draw: Callable[[Axes], None], alt: str, key: str, size: tuple[float, float] = (3.3, 2.4)
) -> Callable[[], Panel]:
    import hashlib

    unique = f"{key}-{hashlib.sha256(alt.encode()).hexdigest()[:8]}"
    return lambda: panel(draw, alt, unique, size)


def _grouped(cells: Iterable[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    groups: dict[K, list[Result]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    return dict(groups)


def _who(cell: Result) -> tuple[str, str]:
    return cell.role, cell.model


def _attack(cell: Result) -> str:
    return " ".join([cell.condition, *(str(v) for k, v in cell.params.items() if k != "eps")])


def _eps(cell: Result) -> float | None:
    """In 1/255, where the cell was measured at one."""
    written = cell.params.get("eps", SEARCH)
    try:
        return float(255 * parse_eps(str(written)))
    except InputError:
        return None


_TREND = (
    " The grey cloud are published models trained on ImageNet-1k alone, with their trend and its 95% band: above it is "
    "effective robustness."
)
_FIGURES: tuple[tuple[str, str, str, Callable[[Results, _Models], Panels]], ...] = (
    (
        "differences",
        "Against the supervised baseline",
        "Accuracy of the candidate minus that of its baseline on the same images, with 95% intervals: filled circles "
        "pass the gate, open ones are inconclusive, crosses fail, diamonds are known weaknesses, triangles are known "
        "weaknesses that are gone, squares are not gated.",
        _differences,
    ),
    (
        "natural",
        "Natural shifts",
        "Accuracy under the shift against the clean accuracy on the same classes, logit axes, 95% intervals. Dashed: "
        "as accurate as on clean images.",
        _natural,
    ),
    ("corruptions", "Corruptions", "Top-1 accuracy in percent; darker is worse.", _corruptions),
    ("flips", "Stability along sequences", "How often the prediction changes between compared frames.", _flips),
    (
        "security",
        "Security curves",
        "Accuracy under each attack against eps in pixel units, with 95% intervals; at 0 that on clean images.",
        _security,
    ),
    (
        "smallest",
        "Smallest perturbations",
        "The share of images that are fooled by an eps of at most so much, in steps of 5%; images that are wrong when "
        "clean count as fooled at 0, drawn at the left edge.",
        _smallest,
    ),
    (
        "typographic",
        "Words written on images",
        "Whether the prediction is what is shown, the wrong word that is written, or something else.",
        _typographic,
    ),
    ("overlap", "Data overlap and other families", "Accuracy with 95% intervals.", _other_families),
    (
        "regression",
        "Against the recorded run",
        "Paired on the same images, with 95% intervals; triangles where the interval excludes 0.",
        _regression,
    ),
)
