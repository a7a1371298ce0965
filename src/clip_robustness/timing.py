"""How long work takes on a machine that does nothing else, measured on one that may be busy. Light to import."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_THREAD, _TASKS = Path("/proc/thread-self"), Path("/proc/self/task")
_HINDERED = 0.1


@dataclass(frozen=True)
class Timed:
    """A call: its seconds by the clock, and those in which the thread that called, or any of the process, stood ready
    while others had the cores. Linux tells; elsewhere they are 0."""

    seconds: float
    waited: float
    waited_in_all: float

    @property
    def hindered(self) -> bool:
        return self.waited_in_all > _HINDERED * self.seconds

    @property
    def alone(self) -> float:
        """Of work in one thread: what it takes where nobody else wants the core, with what it waits for disks."""
        return self.seconds - self.waited


def timed(run: Callable[[], object]) -> Timed:
    here, everywhere = _waited(_THREAD), _waited_in_all()
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    return Timed(seconds, min(seconds, _waited(_THREAD) - here), _waited_in_all() - everywhere)


def fastest(run: Callable[[], object], long_enough: float) -> Timed:
    """Of as many calls as take so long, the one that was least in others' way."""
    calls = [timed(run)]
    while sum(call.seconds for call in calls) < long_enough:
        calls.append(timed(run))
    return min(calls, key=lambda call: call.seconds)


def unhindered(together: Timed, alone: float, threads: int) -> float:
    """Seconds of work in several threads. Where others hinder these, each also waits for those of its own that have no
    core, many times as long as the work takes: then by what one thread takes `alone`, as two make 1.4 of one."""
    return min(together.seconds, alone / math.sqrt(threads)) if together.hindered else together.seconds


def _waited(task: Path) -> float:
    with suppress(OSError, IndexError, ValueError):  # no Linux, or the thread has ended
        return int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0


def _waited_in_all() -> float:
    return sum(map(_waited, _TASKS.iterdir())) if _TASKS.is_dir() else 0.0
