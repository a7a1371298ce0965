"""The pytest plugin that turns the tests' figures into reports.

Rows arrive on the tests' reports, from this process or from xdist's workers; only the process that the user started
writes. The reports are written at the end of every run of benchmark tests, complete or not.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.plugin import MODELS, runs_benchmark, unmeasured
from fixtures.settings import SETTINGS, CellSpec, Settings
from metrics import guards
from metrics.gate import corrected
from metrics.results import Cell, Results, cell_from, in_order
from metrics.summary import of_cells
from models.errors import InputError
from reports import history, junit, markdown, table


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "robustness-recorder")


class Recorder:
    """Keeps what the tests report, and writes it down at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._rows: dict[str, list[Cell]] = {}
        self._right: list[dict[str, Any]] = []
        self._expected: dict[str, CellSpec] = {}
        self._results: Results | None = None
        self._notes: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._expect(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if rows := getattr(report, "robustness_rows", None):
            self._rows[report.nodeid] = [cell_from(row) for row in rows]
        if right := getattr(report, "robustness_right", None):
            self._right.append(right)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._rows or not runs_benchmark(self._config):
            return
        settings = self._config.stash[SETTINGS]
        missing = [
            unmeasured(cell, test, "not run", "the run ended before it, or its worker crashed")
            for test, cell in self._expected.items()
            if test not in self._rows
        ]
        cells = in_order([*(row for rows in self._rows.values() for row in rows), *missing])
        cells = corrected(cells, settings.suite.gate.alpha)
        models = self._config.stash.get(MODELS, [])
        summaries = of_cells(cells, on_imagenet=settings.suite.classes == "imagenet")
        found = guards.of_cells(cells)
        self._results = Results(settings.suite.name, environment(self._config), models, cells, summaries, found)
        write_all(self._results, settings.report_dir)
        if settings.record and self._right:
            file = history.append(settings.history_dir, settings.record, self._results, self._right)
            self._notes.append(f"recorded: {os.path.relpath(file)}")
        if settings.update_thresholds:
            self._notes += _tightened(settings, cells)
        nothing_measured = all(cell.accuracy is None for cell in cells)
        if nothing_measured and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._results is None:
            return
        terminalreporter.section(f"robustness, suite {self._results.suite}")
        for line in table.lines(self._results.cells):
            terminalreporter.write_line(line)
        for line in (
            *table.spared(self._results.cells),
            *table.regressions(self._results.cells),
            *table.summaries(self._results.summaries),
            *table.guards(self._results.guards),
        ):
            terminalreporter.write_line(line)
        folder = self._config.stash[SETTINGS].report_dir
        for name in ("report.html", "summary.md", "results.json", "junit.xml"):
            terminalreporter.write_line(os.path.relpath(folder / name))
        for line in self._notes:
            terminalreporter.write_line(line)

    def _expect(self, ids: Sequence[str]) -> None:
        by_id = _cells_by_id(self._config.stash[SETTINGS])
        for test in ids:
            _, bracket, inner = test.partition("[")
            if bracket and inner[:-1] in by_id:
                self._expected[test] = by_id[inner[:-1]]


def _tightened(settings: Settings, cells: Sequence[Cell]) -> list[str]:
    """Rewrites the suite for the conditions whose known weakness is gone with every candidate."""
    from suites.thresholds import tighten

    verdicts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in table.candidates(cells):
        verdicts[cell.family, cell.label].add(cell.verdict)
    by_label = {(c.family, c.label): c for c in settings.suite.conditions}
    improved = [by_label[key] for key, found in verdicts.items() if found == {"improved"}]
    try:
        changes = tighten(settings.suite, improved)
    except InputError as error:
        return [str(error)]
    file = os.path.relpath(settings.suite.file)
    return [f"{file}: {change}" for change in changes] or [f"{file}: no known weakness is gone, nothing to update"]


def _cells_by_id(settings: Settings) -> dict[str, CellSpec]:
    cells = [CellSpec(m, c) for m in settings.candidates for c in settings.suite.conditions]
    return {cell.id: cell for cell in cells}


def environment(config: pytest.Config) -> dict[str, Any]:
    """What somebody needs to run this again, and to trust that it was run as it says."""
    import platform
    from importlib.metadata import version

    from fixtures.evaluator import code_version

    settings = config.stash[SETTINGS]
    libraries = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow", "scipy", "pytest")
    return {
        "command": ["pytest", *config.invocation_params.args],
        "suite_file": settings.suite.file.name,
        "classes": settings.suite.settings.classes,
        "samples": settings.samples,
        "seed": settings.seed,
        "device": settings.device,
        "code_version": code_version(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "libraries": {name: version(name) for name in libraries},
    }


def write_all(results: Results, folder: Path) -> None:
    """The four files of a run; each replaces its predecessor whole."""
    from reports import html

    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "results.json": results.to_json(),
        "junit.xml": junit.render(results),
        "summary.md": markdown.render(results),
        "report.html": html.render(results),
    }
    for name, text in contents.items():
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
