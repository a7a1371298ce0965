"""The pytest plugin that turns the tests' figures into reports.

Rows arrive on the tests' reports, from this process or from xdist's workers; only the process that the user started
writes. The reports are written at the end of every run of benchmark tests, complete or not.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fixtures.plugin import MODELS, SELECTED, SELECTION, WARNINGS, limits, runs_benchmark, unmeasured
from fixtures.settings import SETTINGS, CellSpec, Settings, cells_of
from metrics import guards
from metrics.gate import corrected
from metrics.results import Cell, Results, Shard, cell_from, in_order
from metrics.summary import of_cells
from models.errors import InputError
from models.files import whole
from reports import csv, gallery, history, junit, markdown, progress, table, terminal
from reports.gallery import Gallery


def pytest_configure(config: pytest.Config) -> None:
    progress.pytest_configure(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "robustness-recorder")


class Recorder:
    """Keeps what the tests report, and writes it down at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._rows: dict[str, list[Cell]] = {}
        self._right: list[dict[str, Any]] = []
        self._expected: dict[str, CellSpec] = {}
        self._selected: dict[str, CellSpec] = {}
        self._undecided = 0
        self._results: Results | None = None
        self._notes: list[str] = []
        self._written: Path | None = None
        self._on_interrupt: Any = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])
        self._selected = session.config.stash.get(SELECTED, {})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._expect(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        tests = getattr(node, "workeroutput", {}).get(SELECTION, ())
        self._selected |= cells_of(self._config.stash[SETTINGS], tests)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if rows := getattr(report, "robustness_rows", None):
            self._rows[report.nodeid] = [cell_from(row) for row in rows]
        if right := getattr(report, "robustness_right", None):
            self._right.append(right)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        self._hold_interrupts()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not (self._rows or self._config.stash[SETTINGS].shard) or not runs_benchmark(self._config):
            return
        self._hold_interrupts()
        try:
            self._report(session)
        finally:
            if self._on_interrupt is not None:
                signal.signal(signal.SIGINT, self._on_interrupt)

    def _hold_interrupts(self) -> None:
        """Who presses Ctrl-C again while the reports are written loses none of them."""
        if self._on_interrupt is None and threading.current_thread() is threading.main_thread():
            self._on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _report(self, session: pytest.Session) -> None:
        settings = self._config.stash[SETTINGS]
        missing = [
            unmeasured(settings, cell, test, "not run", "the run ended before it, or its worker crashed")
            for test, cell in self._expected.items()
            if test not in self._rows
        ]
        cells = in_order([*(row for rows in self._rows.values() for row in rows), *missing])
        shared = limits(settings, self._selected.values()) if settings.shard else 0
        gate = settings.suite.gate
        cells = corrected(cells, gate.alpha, shared, report_only=gate.report_only)
        models = self._config.stash.get(MODELS, [])
        summaries = of_cells(cells, on_imagenet=settings.suite.classes == "imagenet")
        found = guards.of_cells(cells)
        seconds = round(time.monotonic() - self._clock, 1)  # the system's time may be set anew during a long run
        times = {"started": self._began.isoformat(timespec="seconds"), "seconds": seconds}
        partial = _partial(session, len(missing), len(self._expected))
        shard, about = self._shard(settings), environment(self._config) | times
        warnings = self._config.stash.get(WARNINGS, [])
        results = Results(settings.suite.name, about, models, cells, summaries, found, shard, partial, warnings)
        pictures = gallery.collect(settings.gallery_dir, cells)
        self._results = results
        self._written = self._save(session, settings.report_dir, lambda folder: write_all(results, folder, pictures))
        if (name := settings.record) and self._right:
            file = self._save(session, settings.history_dir, lambda to: history.append(to, name, results, self._right))
            self._notes += [f"recorded: {os.path.relpath(file)}{history.marked(results)}"] if file else []
        if settings.update_thresholds:
            self._notes += _tightened(settings, cells)
        measured = {test for test, rows in self._rows.items() if rows[0].accuracy is not None}
        decided = [test in measured for test, cell in self._expected.items() if settings.limits(cell.condition)]
        self._undecided = decided.count(False) if settings.deadline else 0
        nothing_measured = not measured or (settings.deadline and decided and not any(decided))
        nothing_gated = gate.require_limits and not any(cell.gated for cell in table.candidates(cells))
        if settings.shard and not self._expected:  # there are more shards than work
            session.exitstatus = pytest.ExitCode.OK
        elif (nothing_measured or nothing_gated) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._results is None:
            return
        terminalreporter.section(f"robustness, suite {self._results.suite}")
        for line in terminal.lines(self._results, self._config.get_verbosity()):
            for text, markup in line:
                terminalreporter.write(text, **markup)
            terminalreporter.write("\n")
        if self._undecided:
            terminalreporter.write_line(
                f"the time limit left {self._undecided} gating cells undecided: not run is no pass"
            )
        if folder := self._written:
            for name in FILES[: 1 if self._config.get_verbosity() < 0 else None]:
                terminalreporter.write_line(os.path.relpath(folder / name))
        for note in self._notes:
            terminalreporter.write_line(note)

    def _save(self, session: pytest.Session, folder: Path, write: Callable[[Path], Path]) -> Path | None:
        """What `write` wrote to the folder, or to one of its own among the temporary ones: a long run's results are not
        lost for a full disk, but it does not pass."""
        try:
            return write(folder)
        except OSError as error:
            said = f"{folder} can't be written ({error.strerror or error})"
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        try:
            written = write(Path(tempfile.mkdtemp(prefix="robustness-")))
            self._notes.append(f"{said}: what belongs there is in {written}")
        except OSError as error:
            self._notes.append(
                f"{said}, and neither can {tempfile.gettempdir()} ({error.strerror or error}); the same command with "
                "another --report-dir computes only what could not be stored"
            )
            return None
        return written

    def _expect(self, ids: Sequence[str]) -> None:
        self._expected |= cells_of(self._config.stash[SETTINGS], ids)

    def _shard(self, settings: Settings) -> Shard | None:
        if settings.shard is None:
            return None
        selected = [
            {
                "test": test,
                "family": cell.condition.family,
                "condition": cell.condition.name,
                "params": dict(cell.condition.params),
                "model": cell.candidate.text,
            }
            for test, cell in sorted(self._selected.items())
        ]
        return Shard(*settings.shard, selected)


def _tightened(settings: Settings, cells: Sequence[Cell]) -> list[str]:
    """Rewrites the suite for the conditions whose known weakness is gone with every candidate."""
    from suites.thresholds import tighten

    shown: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for cell in table.candidates(cells):
        shown[cell.family, cell.label].append({c.limit for c in cell.checks if c.weak and c.status == "pass"})
    weak = {
        (condition, rule): {limit.name for limit in settings.limits(condition) if limit.rule == rule}
        for condition in settings.suite.conditions
        for rule in (limit.rule for limit in settings.limits(condition) if limit.weak)
    }
    by_label = {key: shown.get((key[0].family, key[0].label), []) for key in weak}
    improved = [key for key, names in weak.items() if by_label[key] and all(names <= own for own in by_label[key])]
    try:
        changes = tighten(settings.suite, improved)
    except (InputError, OSError) as error:
        return [str(error)]
    file = os.path.relpath(settings.suite.file)
    return [f"{file}: {change}" for change in changes] or [f"{file}: no known weakness is gone, nothing to update"]


def _partial(session: pytest.Session, missing: int, expected: int) -> str:
    """Why cells are missing, '' where none is."""
    if not missing:
        return ""
    if session.exitstatus == pytest.ExitCode.INTERRUPTED:
        why = "The run was interrupted"
    else:
        why = f"The run ended early ({session.shouldfail or session.shouldstop or 'a worker crashed, or pytest did'})"
    return f"{why}: {missing} of {expected} cells were not run."


def environment(config: pytest.Config) -> dict[str, Any]:
    """What somebody needs to run this again, and to trust that it was run as it says."""
    import platform
    from importlib.metadata import version

    import torch

    from fixtures.evaluator import code_version

    settings = config.stash[SETTINGS]
    libraries = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow", "scipy", "pytest")
    return {
        "command": ["pytest", *config.invocation_params.args],
        "suite_file": settings.suite.file.name,
        "classes": settings.suite.settings.classes,
        "samples": settings.samples,
        "seed": settings.seed,
        "alpha": settings.suite.gate.alpha,
        "report_only": settings.suite.gate.report_only,
        "require_limits": settings.suite.gate.require_limits,
        "device": settings.device,
        "code_version": code_version(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _processor(),
        "cpu_count": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "libraries": {name: version(name) for name in libraries},
    }


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


FILES = ("report.html", "summary.md", "results.json", "junit.xml", "cells.csv", gallery.NAME)


def write_all(results: Results, folder: Path, pictures: Gallery) -> Path:
    """The files of a run, to the folder that is given back; each replaces its predecessor whole."""
    write(folder, {"results.json": results.to_json(), gallery.NAME: gallery.to_json(pictures)})
    write(folder, views(results, pictures))
    return folder


def views(results: Results, pictures: Gallery, runs: Sequence[tuple[str, Results]] = ()) -> dict[str, str]:
    """What can be made of results.json and gallery.json, by file name."""
    from reports import html

    return {
        "junit.xml": junit.render(results),
        "summary.md": markdown.render(results),
        "cells.csv": csv.render(results.cells),
        "report.html": html.render(results, pictures, runs),
    }


def write(folder: Path, contents: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        with whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
