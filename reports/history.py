"""Recorded runs side by side over time: lines for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_robustness.errors import number_of
from clip_robustness.reports.svg import NOT_IN_XML
from clip_robustness.reports.table import interval, share
from clip_robustness.reports.templates import environment
from clip_robustness.results.headline import headline
from clip_robustness.results.result import FAMILIES, Result
from clip_robustness.results.trajectory import ALPHA, Fall, Key, Series

_HERE = Path(__file__).parent
_WIDTH, _HEIGHT = 260.0, 44.0
RULE = (
    f"A fall is called where McNemar's exact test, of each run against the one before it and against the first, on the "
    f"same images, says so after Holm's correction over all of these tests: with a probability of at most {ALPHA:.0%} "
    "any of them is none."
)


def lines(found: Sequence[Series]) -> list[str]:
    """Mean accuracies by family over the conditions that all runs of a series have, where conditions fell first, and
    what changed in set-up."""
    said = []
    for series in found:
        common = set.intersection(*(set(point.cells) for point in series.points))
        said.append(f"mean accuracy in percent over the {number_of(len(common), 'condition')} that all runs below have")
        for at, point in enumerate(series.points):
            means = [f"{name} {_mean([point.cells[k] for k in common if k[0] == name])}" for name in FAMILIES]
            mark = "" if point.run.held else "  did not hold"
            run = point.run
            said.append(f"{run.recorded}  {run.name}  {run.results.suite}  {point.model}  {'  '.join(means)}{mark}")
            said += [f"    set-up: {change}" for change in (series.changes(at) if at else ())]
        said += [f"fell first: {_told(series, fall)}" for fall in series.falls.values()]
        if len(series.points) > 1 and not series.falls:
            said.append("no condition was shown to have fallen")
        said += [f"not compared: {_count(keys)}: {why}" for why, keys in series.not_compared.items()]
    return said


def _mean(cells: Sequence[Result]) -> str:
    return f"{100 * np.mean([cell.accuracy for cell in cells]):.1f}" if cells else "-"


def _told(series: Series, fall: Fall) -> str:
    d, names = fall.difference, [point.run.name for point in series.points]
    return (
        f"{fall.key[1]} in '{names[fall.at]}': {share(d.value, '+')} {interval((d.low, d.high), '+')} points against "
        f"'{names[fall.against]}' on {fall.n} images, p = {fall.p:.1g}"
    )


def _count(keys: Sequence[Key]) -> str:
    shown = ", ".join(dict.fromkeys(label for _, label in keys[:3]))
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


@dataclass(frozen=True)
class Mark:
    """A run of a condition in its chart: a place in it, and the ends of the interval."""

    x: float
    y: float
    low: float
    high: float
    title: str
    fell: bool


@dataclass(frozen=True)
class Row:
    """A condition over the runs."""

    key: Key
    marks: list[Mark]
    first: Result
    last: Result
    fall: str

    @property
    def path(self) -> str:
        return " ".join(f"{'L' if i else 'M'}{mark.x:.1f} {mark.y:.1f}" for i, mark in enumerate(self.marks))


def rows(series: Series) -> list[Row]:
    """What fell first of all, then by family."""
    found = []
    for key in series.keys:
        fall = series.falls.get(key)
        measured = [(at, point) for at, point in enumerate(series.points) if key in point.cells]
        cells = [point.cells[key] for _, point in measured]
        ends = [end for cell in cells for end in cell.ci95 or ()]
        least, most = min(ends), max(ends)
        marks = []
        for (at, point), cell in zip(measured, cells, strict=True):
            ci = cell.ci95 or (cell.accuracy or 0, cell.accuracy or 0)
            high, y, low = (_y(x, least, most) for x in (ci[1], cell.accuracy or 0, ci[0]))
            title = f"{point.run.name}: {share(cell.accuracy)} {interval(ci)}"
            marks.append(Mark(_x(at, len(series.points)), y, low, high, title, bool(fall and fall.at == at)))
        found.append(Row(key, marks, cells[0], cells[-1], _told(series, fall) if fall else ""))
    return sorted(found, key=lambda row: not row.fall)


def _x(at: int, count: int) -> float:
    return 6 + (_WIDTH - 12) * (at / (count - 1) if count > 1 else 0.5)


def _y(value: float, least: float, most: float) -> float:
    return 5 + (_HEIGHT - 10) * (1 - (value - least) / (most - least if most > least else 1))


def page(found: Sequence[Series], family: str) -> str:
    """history.html of a family: self-contained, without scripts."""
    text = (
        environment(_HERE)
        .get_template("history.html.j2")
        .render(
            all_series=[(series, rows(series)) for series in found],
            family=family,
            headline=headline,
            rule=RULE,
            width=_WIDTH,
            height=_HEIGHT,
            style=(_HERE / "report.css").read_text(encoding="utf-8"),
        )
    )
    return NOT_IN_XML.sub("\ufffd", text)
