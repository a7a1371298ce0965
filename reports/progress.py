"""The progress line of long cells: below pytest's own output on a terminal, a line now and then in a log.

Workers of xdist write how far they are into a file each, which the process that the user started reads: a worker has no
other way to say anything before its test is over.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fixtures.progress import Progress
from models.errors import one_line
from models.files import whole

WATCH: pytest.StashKey[Callable[[Progress], None]] = pytest.StashKey()
"""What the evaluator tells how far it is."""
_SILENT = 2.0
"""Seconds of a cell before there is a progress line."""
_LOG_EVERY = 60.0
"""Seconds between lines where there is no terminal."""
_FOLDER = "robustness_progress"


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        if folder := worker.get(_FOLDER):
            config.stash[WATCH] = _Sender(Path(folder) / f"{worker['workerid']}.json").send
    elif config.get_verbosity() >= 0:
        shown = ProgressLine(config)
        config.stash[WATCH] = shown.show
        config.pluginmanager.register(shown, "robustness-progress")


class _Sender:
    def __init__(self, file: Path) -> None:
        self._file, self._last = file, 0.0

    def send(self, progress: Progress) -> None:
        if time.monotonic() - self._last < 1 and progress.done < progress.total:
            return
        self._last = time.monotonic()
        with suppress(OSError), whole(self._file) as partial:  # a worker on another machine, or the run has ended
            partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")


class ProgressLine:
    """Shows the progress of this process or of its workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._logged = time.monotonic()
        self._shown = False
        self._folder: Path | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def show(self, *running: Progress) -> None:
        """Those that take long, and are not done."""
        long = [p for p in running if p.seconds > _SILENT and p.done < p.total]
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or (not long and not self._shown):
            return
        terminal = reporter._tw
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            if terminal._file.isatty():
                text = one_line("  ".join(str(p) for p in long))[: terminal.fullwidth - 1]
                column = terminal.width_of_current_line
                terminal._file.write(f"\n\x1b[2K{text}\x1b[A\r" + (f"\x1b[{column}C" if column else ""))
                terminal._file.flush()
                self._shown = bool(long)
            elif long and time.monotonic() - self._logged > _LOG_EVERY:
                self._logged = time.monotonic()
                reporter.ensure_newline()
                for progress in long:
                    reporter.write_line(one_line(f"  {progress}"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="robustness-"))
            self._thread = threading.Thread(target=self._poll, args=(self._folder,), daemon=True)
            self._thread.start()
        node.workerinput[_FOLDER] = str(self._folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._ended.set()
        if self._thread and self._folder:
            self._thread.join()
            shutil.rmtree(self._folder, ignore_errors=True)
        self.show()

    def _poll(self, folder: Path) -> None:
        while not self._ended.wait(1):
            self.show(*(p for file in sorted(folder.glob("*.json")) if (p := _read(file))))


def _read(file: Path) -> Progress | None:
    """None for what nobody has written to for long: a cell that is over, or a worker that died."""
    with suppress(OSError, ValueError, TypeError):
        if time.time() - file.stat().st_mtime < 600:
            return Progress(**json.loads(file.read_text(encoding="utf-8")))
    return None
