"""The pytest plugin that turns the tests' figures into reports.

Rows arrive on the tests' reports, from this process or from xdist's workers; only the process that the user started
writes. The reports are written at the end of every run of benchmark tests, complete or not.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fixtures.plugin import MODELS, SELECTED, SELECTION, WARNINGS, limits, runs_benchmark, unmeasured
from fixtures.settings import SETTINGS, CellSpec, Settings, cells_of
from metrics import guards
from metrics.gate import corrected
from metrics.results import Cell, Planned, Results, Shard, cell_from, encodable, in_order
from metrics.summary import of_cells
from models.errors import InputError, one_line, sentence
from reports import gallery, history, progress, table, terminal
from reports.ending import Ending
from reports.gallery import Gallery
from reports.write import FILES, crash, write_all

T = TypeVar("T")
_GREEN = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
"""What pytest exits with where no test fails."""


def pytest_configure(config: pytest.Config) -> None:
    progress.pytest_configure(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "robustness-recorder")


class Recorder:
    """Keeps what the tests report, and writes it down at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ending = Ending()
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._rows: dict[str, list[Cell]] = {}
        self._crashed: dict[str, None] = {}
        self._right: list[dict[str, Any]] = []
        self._expected: dict[str, CellSpec] = {}
        self._selected: dict[str, CellSpec] = {}
        self._undecided = 0
        self._results: Results | None = None
        self._lines: list[terminal.Line] = []
        self._notes: list[str] = []
        self._written: Path | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self) -> Generator[None, T, T]:
        """No report of an earlier run stands for this one, whatever ends it from here on."""
        if not runs_benchmark(self._config):
            return (yield)
        self._ending.catch()
        try:
            self._announce(f"The run that began at {self._started} has not ended, or was killed.")
        except OSError as error:
            raise pytest.UsageError(f"--report-dir: {sentence(error)}") from error
        try:
            done = yield
        except BaseException as error:
            self._ending.hold()
            why = one_line(str(error) or "it was interrupted")
            with suppress(OSError):
                self._announce(f"The run ended before anything was measured: {why}")
            if self._ending.exit_code is None:
                raise
            raise pytest.exit.Exception(why, self._ending.exit_code) from error
        self._ending.catch()
        return done

    def pytest_unconfigure(self) -> None:
        self._ending.release()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])
        self._selected = session.config.stash.get(SELECTED, {})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._expect(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self._select(getattr(node, "workeroutput", {}).get(SELECTION, ()))

    def pytest_runtest_logstart(self) -> None:
        self._ending.check()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._select(getattr(report, SELECTION, ()))  # of a worker that may not come to its end
        if rows := getattr(report, "robustness_rows", None):
            self._rows[report.nodeid] = [cell_from(row) for row in rows]
        if right := getattr(report, "robustness_right", None):
            self._right.append(right)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        self._ending.hold()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if runs_benchmark(self._config):
            self._ending.hold()
            self._report(session)
            self._ending.release(signal.SIGINT)  # workers may be slow to end

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
        holm = partial(corrected, cells, gate.alpha, shared, report_only=gate.report_only)
        cells = self._made("Holm's correction", holm, cells)
        on_imagenet = settings.suite.classes == "imagenet"
        results = Results(
            settings.suite.name,
            self._made("what tells how it was run", lambda: environment(self._config), dict[str, Any]())
            | self._times(),
            self._config.stash.get(MODELS, []),
            cells,
            self._made("the summaries", lambda: of_cells(cells, on_imagenet=on_imagenet), []),
            self._made("the guards", lambda: guards.of_cells(cells), []),
            self._shard(settings),
            self._partial(session, settings, len(missing)),
            self._config.stash.get(WARNINGS, []),
            tuple(cell.test for cell in missing),
        )
        pictures = self._made("gallery.json", lambda: gallery.collect(settings.gallery_dir, cells), dict[str, Any]())
        self._results = results
        self._written = self._save(session, settings.report_dir, lambda folder: self._write(results, folder, pictures))
        table_of = partial(terminal.lines, results, self._config.get_verbosity())
        self._lines = self._made("the table of the terminal", lambda: list(table_of()), [])
        if settings.record and self._right:
            add = partial(history.append, name=settings.record, results=results, cells=self._right)
            file = self._made("the record", lambda: self._save(session, settings.history_dir, add), None)
            self._notes += [f"recorded: {os.path.relpath(file)}{history.marked(results)}"] if file else []
        if settings.update_thresholds:
            self._notes += self._made("the suite's new thresholds", lambda: _tightened(settings, cells), [])
        self._exit(session, settings, results)

    def _exit(self, session: pytest.Session, settings: Settings, results: Results) -> None:
        """The verdicts decide, whatever the test functions made of them."""
        measured = {test for test, rows in self._rows.items() if rows[0].accuracy is not None}
        decided = [test in measured for test, cell in self._expected.items() if settings.limits(cell.condition)]
        self._undecided = decided.count(False) if settings.deadline else 0
        nothing_measured = not measured or (settings.deadline and decided and not any(decided))
        candidates = table.candidates(results.cells)
        of_all_shards = [*self._selected.values(), *self._expected.values()]
        gated = any(settings.firm(cell.condition) for cell in of_all_shards)
        nothing_gated = settings.suite.gate.require_limits and not gated
        if self._ending.exit_code is not None:
            session.exitstatus = self._ending.exit_code
        elif session.exitstatus in _GREEN and (results.missing or any(c.fails for c in candidates)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif session.exitstatus in _GREEN and settings.shard and self._selected and not self._expected:
            session.exitstatus = pytest.ExitCode.OK  # there are more shards than work
        elif session.exitstatus == pytest.ExitCode.OK and (nothing_measured or nothing_gated):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        if session.exitstatus in _GREEN and self._crashed:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._results is None:
            return
        terminalreporter.section(one_line(f"robustness, suite {self._results.suite}"))
        for line in self._lines:
            for text, markup in line:
                terminalreporter.write(text, **markup)
            terminalreporter.write("\n")
        if self._undecided:
            terminalreporter.write_line(
                f"the time limit left {self._undecided} gating cells undecided: not run is no pass"
            )
        if folder := self._written:
            for name in FILES[: 1 if self._config.get_verbosity() < 0 else None]:
                terminalreporter.write_line(one_line(os.path.relpath(folder / name)))
        for note in (*self._crashed, *self._notes):
            terminalreporter.write_line(one_line(note))

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

    def _write(self, results: Results, folder: Path, pictures: Gallery) -> Path:
        self._crashed |= dict.fromkeys(write_all(results, folder, pictures))
        return folder

    def _made(self, what: str, make: Callable[[], T], default: T) -> T:
        """What the reports can do without where it can't be made: nothing loses the figures."""
        try:
            return make()
        except Exception as error:
            self._crashed[crash(what, error)] = None
            return default

    def _announce(self, why: str) -> None:
        """Reports that say why there are no figures."""
        settings = self._config.stash[SETTINGS]
        empty = Results(
            settings.suite.name, _command(self._config) | self._times(), [], [], shard=self._shard(settings)
        )
        write_all(replace(empty, partial=why), settings.report_dir, {})

    @property
    def _started(self) -> str:
        return self._began.isoformat(timespec="seconds")

    def _times(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self._clock, 1)  # the system's time may be set anew during a long run
        return {"started": self._started, "seconds": seconds}

    def _expect(self, ids: Sequence[str]) -> None:
        self._expected |= cells_of(self._config.stash[SETTINGS], ids)

    def _select(self, ids: Sequence[str]) -> None:
        self._selected |= cells_of(self._config.stash[SETTINGS], ids)

    def _shard(self, settings: Settings) -> Shard | None:
        if settings.shard is None:
            return None
        selected = [
            Planned(test, c.condition.family, c.condition.name, dict(c.condition.params), c.candidate.text)
            for test, c in sorted(self._selected.items())
        ]
        return Shard(*settings.shard, selected)

    def _partial(self, session: pytest.Session, settings: Settings, missing: int) -> str:
        """What part of the suite was selected, and why cells of it are missing; '' where all are there."""
        selected = len(self._selected if settings.shard else self._expected)
        of_suite = len(settings.candidates) * len(settings.suite.conditions)
        if self._ending.signal is not None:
            why = f"The run was ended by {self._ending.signal.name}"
        elif session.exitstatus == pytest.ExitCode.INTERRUPTED:
            why = "The run was interrupted"
        else:
            early = session.shouldfail or session.shouldstop or "a worker crashed, or pytest did"
            why = f"The run ended early ({early})"
        if not self._expected and session.exitstatus not in _GREEN:
            return f"{why} before anything was measured."
        said = [f"{selected} of {of_suite} cells selected."] if selected < of_suite else []
        said += [f"{why}: {missing} of {len(self._expected)} cells were not run."] if missing else []
        return " ".join(said)


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


def environment(config: pytest.Config) -> dict[str, Any]:
    """What somebody needs to run this again, and to trust that it was run as it says."""
    import platform
    from importlib.metadata import version

    import torch

    from fixtures.fingerprint import code_version

    settings = config.stash[SETTINGS]
    libraries = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow", "scipy", "pytest")
    return {
        **_command(config),
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


def _command(config: pytest.Config) -> dict[str, Any]:
    return {"command": encodable(["pytest", *map(str, config.invocation_params.args)])}


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
