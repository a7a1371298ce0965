"""Signals that end a run as Ctrl-C does: the report of what was measured is written.

SIGTERM is what Slurm, Kubernetes, `timeout` and cancelled CI jobs send, SIGHUP what a closed terminal does.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_CAUGHT = (signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Which of the signals came first, and what handled them before."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def catch(self) -> None:
        """Once more after a library has put its own handlers in place, as Ray does."""
        for number in _CAUGHT:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._set(number, self._interrupt)

    def check(self) -> None:
        """Raises once more what was swallowed on its way, as in a finalizer."""
        if self.signal is not None:
            raise KeyboardInterrupt(f"{self.signal.name} was received")

    def hold(self) -> None:
        """Whoever asks again while the reports are written loses none of them."""
        for number in (signal.SIGINT, *_CAUGHT):
            self._set(number, signal.SIG_IGN)

    def release(self, *numbers: int) -> None:
        """All, or those of these numbers."""
        for number in numbers or tuple(self._before):
            if number in self._before:
                signal.signal(number, self._before.pop(number))

    @property
    def exit_code(self) -> int | None:
        """As a shell tells that a signal ended a process: 143 after SIGTERM, 129 after SIGHUP."""
        return None if self.signal is None else 128 + self.signal

    def _set(self, number: int, handler: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.signal(number, handler)
        self._before.setdefault(number, before or signal.SIG_DFL)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        self.check()
