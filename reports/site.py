"""`clip-robustness site RUN... -o FOLDER`: a static leaderboard of runs, which asks no server and no network.

Ranked are models of runs of one suite by the mean of their families' mean accuracies, over the conditions that all of
them have; the ends of its interval are the means of the cells' own, wide, but right however cells that share images
depend on each other. A model's rank is one more than the number of models that are shown to be better, whose intervals
lie above its own: those that are not told apart share a rank.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from clip_robustness.reports import csv, html
from clip_robustness.reports.svg import NOT_IN_XML
from clip_robustness.reports.templates import environment
from clip_robustness.reports.write import write as write_files
from clip_robustness.results import gallery
from clip_robustness.results.headline import headline
from clip_robustness.results.result import FAMILIES, Result
from clip_robustness.results.results import Results

_HERE = Path(__file__).parent
RULE = (
    "Models are ordered by the mean over families, but for clean, of their mean accuracy over the conditions that all "
    "models of the table have. Its interval runs between the means of the conditions' own 95% intervals: wide, but "
    "right however conditions that share images depend on each other. A rank is one more than the number of models "
    "whose interval lies above: models that share a rank are not told apart."
)
Key = tuple[str, str]


@dataclass(frozen=True)
class Figures:
    """A mean accuracy with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """A model of a run in a leaderboard; `families` has None where it has no condition of one."""

    rank: int
    model: str
    role: str
    run: str
    page: str
    score: Figures | None
    families: dict[str, Figures | None]


@dataclass(frozen=True)
class Leaderboard:
    """Of a suite: `conditions` are those that all of its models have."""

    suite: str
    conditions: list[Key]
    entries: list[Entry]
    left_out: list[str]


def leaderboards(runs: Sequence[tuple[str, Results]]) -> list[Leaderboard]:
    """One a suite and class list, seed and number of images, as only these are comparable; `runs` by what their pages
    are called."""
    suites: dict[tuple[str, ...], list[tuple[str, Results]]] = {}
    for page, run in runs:
        how = tuple(str(run.environment.get(what, "")) for what in ("classes", "seed", "samples"))
        suites.setdefault((run.suite, *how), []).append((page, run))
    return [_leaderboard(of[0], own) for of, own in suites.items()]


def _leaderboard(suite: str, runs: Sequence[tuple[str, Results]]) -> Leaderboard:
    models: dict[tuple[str, str, str], tuple[str, dict[Key, Result]]] = {}
    for page, run in runs:
        for cell in run.cells:
            # a baseline of several runs stands once; candidates of one name in two runs are two checkpoints
            key = (cell.role, cell.model, page if cell.role == "candidate" else "")
            if cell.accuracy is not None and cell.ci95 is not None:
                models.setdefault(key, (page, {}))[1].setdefault((cell.family, cell.label), cell)
    candidates = [cells for (role, *_), (_, cells) in models.items() if role == "candidate"]
    common = set.intersection(*map(set, candidates)) if candidates else set()
    ranked = {key: found for key, found in models.items() if common <= set(found[1])}
    scored = {key: _scored([found[1][of] for of in common]) for key, found in ranked.items()}
    entries = []
    for (role, model, name), (page, _) in ranked.items():
        score, families = scored[role, model, name]
        better = sum(1 for other, _ in scored.values() if other and score and other.low > score.high)
        run = next(run for where, run in runs if where == page)
        entries.append(Entry(better + 1, model, role, _called(page, run), page, score, families))
    entries.sort(key=lambda entry: (entry.rank, -(entry.score.value if entry.score else 0), entry.model))
    left_out = [model for _, model, _ in models.keys() - ranked.keys()]
    return Leaderboard(suite, sorted(common), entries, sorted(left_out))


def _called(page: str, run: Results) -> str:
    return str(run.environment.get("started", page))


def _scored(cells: Iterable[Result]) -> tuple[Figures | None, dict[str, Figures | None]]:
    by_family: dict[str, list[Result]] = {}
    for cell in cells:
        by_family.setdefault(cell.family, []).append(cell)
    families = {name: _mean([_figures(cell) for cell in by_family.get(name, [])]) for name in (*FAMILIES, *by_family)}
    return _mean([figures for name, figures in families.items() if figures and name != "clean"]), families


def _figures(cell: Result) -> Figures:
    assert cell.accuracy is not None
    assert cell.ci95 is not None
    return Figures(cell.accuracy, *cell.ci95)


def _mean(found: Sequence[Figures]) -> Figures | None:
    if not found:
        return None
    value, low, high = np.mean([(f.value, f.low, f.high) for f in found], axis=0).tolist()
    return Figures(value, low, high)


def write(files: Sequence[tuple[Path, Results]], out: Path) -> Path:
    """Write the site of runs and the files that they are from; returns its first page. Raises `OSError` where `out`
    can't be written."""
    pages = {_slug(file): (file, results) for file, results in files}
    boards = leaderboards([(page, results) for page, (_, results) in pages.items()])
    style = (_HERE / "report.css").read_text(encoding="utf-8")
    runs = [(page, results, headline(results)) for page, (_, results) in pages.items()]
    index = environment(_HERE).get_template("site.html.j2").render(boards=boards, runs=runs, rule=RULE, style=style)
    board = json.dumps([asdict(board) for board in boards], indent=1, ensure_ascii=False)
    folders = {out: {"index.html": NOT_IN_XML.sub("\ufffd", index), "leaderboard.json": board}}
    for page, (file, results) in pages.items():
        folders[out / page] = {
            "report.html": html.render(results, gallery.beside(file) if file.suffix == ".json" else None),
            "results.json": results.to_json(),
            "cells.csv": csv.render(results.cells),
        }
    for folder, contents in folders.items():
        write_files(folder, contents)
    return out / "index.html"


def _slug(file: Path) -> str:
    """A folder's name that tells runs apart, the same for the same file."""
    full = file.resolve()
    name = full.parent.name if file.name == "results.json" else file.name.partition(".")[0]
    digest = hashlib.sha256(str(full).encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name).strip('-') or 'run'}-{digest}"
