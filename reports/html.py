"""report.html: one self-contained file that asks no network for anything; whatever comes from outside is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from jinja2 import Template

from clip_robustness.reports import figures
from clip_robustness.reports.decisions import SIGNS, accuracy_limit, decisions, told
from clip_robustness.reports.svg import NOT_IN_XML
from clip_robustness.reports.table import (
    ABOUT,
    claims,
    described,
    displayed,
    guards,
    known,
    model_warnings,
    others,
    regressions,
    summaries,
    warnings,
)
from clip_robustness.reports.templates import environment
from clip_robustness.results.gallery import CHANGED, RULE, Gallery
from clip_robustness.results.headline import VERDICTS, candidates, counts, headline
from clip_robustness.results.result import Result, in_order
from clip_robustness.results.results import Results

_HERE = Path(__file__).parent
_DECISIONS = 12
"""Limits at the top at most; the others can be unfolded."""
_ROOM = (-50.0, 50.0)
"""Points around a limit that are drawn beside it."""


@dataclass(frozen=True)
class Family:
    """A candidate's cells of a family: how many of which verdict, and the one that loses most against its baseline."""

    name: str
    model: str
    cells: int
    counts: dict[str, int]
    worst: Result | None


def render(results: Results, gallery: Gallery | None = None, runs: Sequence[tuple[str, Results]] = ()) -> str:
    """The page of a run; of several, `results` is `together(runs)`."""
    results, runs = displayed(results), [(name, displayed(run)) for name, run in runs]
    shown, script = candidates(results.cells), (_HERE / "report.js").read_text(encoding="utf-8")
    decided = decisions(shown)
    models = list(dict.fromkeys(cell.model for cell in shown))
    plots = figures.plots(results)
    page = _template().render(
        results=results,
        runs=runs or [(results.suite, results)],
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headline=headline(results),
        told=told(results),
        decided=[part for part in (decided[:_DECISIONS], decided[_DECISIONS:]) if part],
        families=_families(shown),
        models=models,
        matrix=_matrix(shown) if len(models) > 1 else {},
        candidates=shown,
        baselines=[cell for cell in results.cells if cell.role == "supervised"],
        verdicts=[verdict for verdict in VERDICTS if any(cell.verdict == verdict for cell in shown)],
        explained=[cell for cell in shown if cell.verdict not in ("pass", "not gated", "not run")],
        not_run=[cell for cell in shown if cell.verdict == "not run"],
        plots=plots,
        grouped=[cell for cell in results.cells if cell.groups],
        mistaken=[cell for cell in results.cells if "reads_the_word" in cell.metrics and cell.confusions],
        gallery=[(cell, gallery[cell.gallery]) for cell in shown if gallery and cell.gallery in gallery],
        rule=RULE,
        changed_rule=CHANGED,
        changed={
            cell.regression.gallery: gallery[cell.regression.gallery]
            for cell in shown
            if gallery and cell.regression and cell.regression.gallery in gallery
        },
        guards=guards(results.guards),
        claims=claims(results.claims),
        regressions=[cell for cell in shown if cell.regression],
        regression_lines=regressions(results.cells),
        warnings=[*model_warnings(results.models), *warnings(results.cells)],
        about=("role", "model", "spec", "warnings", *ABOUT),
        summaries=summaries(results.summaries),
        known=known(results.calibration),
        unreadable=sorted({name for cell in results.cells for name in cell.unreadable}),
    )
    return NOT_IN_XML.sub("\ufffd", page)


def _drawn(room: tuple[float, float, float]) -> tuple[float, float, float]:
    """A figure and its interval as shares of the width of `_ROOM`, what is outside at its edge."""
    least, most = _ROOM
    value, low, high = ((min(max(x, least), most) - least) / (most - least) for x in room)
    return value, low, high


@cache
def _template() -> Template:
    """Compiling it takes longer than rendering it."""
    made = environment(_HERE)
    made.filters |= {"others": others, "described": described, "needed": accuracy_limit, "drawn": _drawn}
    made.filters |= {"sign": lambda verdict: SIGNS.get(verdict, "")}
    return made.get_template("report.html.j2")


def together(runs: Sequence[tuple[str, Results]]) -> Results:
    """Several runs side by side, as one: candidates are called by model and run, baselines where runs disagree."""
    baselines: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
    for _, run in runs:
        for cell in run.cells:
            if cell.role == "supervised":
                baselines.setdefault((cell.label, cell.model), set()).add((cell.n, cell.correct))
    differing = {model for (_, model), found in baselines.items() if len(found) > 1}

    def called(model: str, role: str, run: str) -> str:
        return f"{model} · {run}" if role == "candidate" or model in differing else model

    return Results(
        " and ".join(dict.fromkeys(run.suite for _, run in runs)),
        {},
        [],
        in_order(replace(c, model=called(c.model, c.role, name)) for name, run in runs for c in run.cells),
        [replace(s, model=called(s.model, s.role, name)) for name, run in runs for s in run.summaries],
        [replace(g, model=called(g.model, g.role, name)) for name, run in runs for g in run.guards],
        claims=[replace(c, model=called(c.model, "candidate", name)) for name, run in runs for c in run.claims],
        warnings=[f"{name}: {warning}" for name, run in runs for warning in run.warnings],
        partial=" ".join(f"{name}: {run.partial}" for name, run in runs if run.partial),
        missing=tuple(test for _, run in runs for test in run.missing),
        calibration=[replace(c, model=called(c.model, c.role, name)) for name, run in runs for c in run.calibration],
    )


def _families(cells: Iterable[Result]) -> list[Family]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for cell in cells:
        groups.setdefault((cell.family, cell.model), []).append(cell)
    found = []
    for (family, model), own in groups.items():
        compared = [cell for cell in own if cell.difference]
        worst = min(compared, key=lambda c: c.difference.value if c.difference else 0, default=None)
        found.append(Family(family, model, len(own), counts(own), worst))
    return found


def _matrix(cells: Iterable[Result]) -> dict[str, dict[str, Result]]:
    """Condition -> model -> cell."""
    rows: dict[str, dict[str, Result]] = {}
    for cell in cells:
        rows.setdefault(cell.label, {})[cell.model] = cell
    return rows
