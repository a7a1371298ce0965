"""What this process is doing, and a line on it now and then where nobody sees progress bars. Light to import."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

EVERY = 25.0
"""Seconds between lines: who watches a log, or a CI that ends what is silent, should not wait for more than 30."""


@dataclass(eq=False)
class Doing:
    """`count` of `total`, where it is counted."""

    what: str
    total: int | None = None
    count: int = 0
    since: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        counted = f" {self.count}/{self.total}" if self.total else f" {self.count}" if self.count else ""
        return f"{self.what}{counted}, {time.monotonic() - self.since:.0f} s so far"


_current: list[Doing] = []


@contextmanager
def doing(what: str, total: int | None = None) -> Iterator[Doing]:
    """As 'loading timm:resnet50': what is begun last is what is said."""
    entry = Doing(what, total)
    _current.append(entry)
    try:
        yield entry
    finally:
        _current.remove(entry)


@contextmanager
def progress(total: int | None, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """What is counted, with a bar on a terminal where it takes long; gives what takes how many more are done."""
    from tqdm import tqdm

    with (
        doing(what, total) as entry,
        tqdm(total=total, desc=what, unit=unit, delay=3, disable=None, leave=False) as bar,
    ):

        def done(more: int) -> None:
            entry.count += more
            bar.update(more)

        yield done


def current() -> list[str]:
    """A line, or none where nothing is being done."""
    return [str(entry) for entry in _current[-1:]]


@contextmanager
def heartbeat(lines: Callable[[], Sequence[str]], say: Callable[[str], None]) -> Iterator[None]:
    """Says what `lines` gives every so many seconds, whatever the other threads do."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(EVERY):
            for line in lines():
                say(line)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
