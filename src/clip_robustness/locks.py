"""Locks between processes. Whoever takes one must be right without it, too: it saves work, no figure depends on it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOG = logging.getLogger("clip_robustness")
SAY_AFTER, GIVE_UP_AFTER, SIGN_EVERY = 10.0, 600.0, 30.0
"""Seconds: of waiting until it is said, without a sign of the holder's life until it counts as dead, between signs."""


@contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Hold a lock file, released when the holder dies; gives whether it could be had.

    Says which file it waits for. The holder touches it now and then: where nobody does, as where a process on another
    host died, or where the file system has no locks, it goes on without.
    """
    lock, released = FileLock(file), threading.Event()
    held = _acquired(lock, file)
    if held:
        threading.Thread(target=_give_signs, args=(file, released), daemon=True).start()
    try:
        yield held
    finally:
        released.set()
        if held:
            lock.release()


def _acquired(lock: FileLock, file: Path) -> bool:
    began = last_sign = time.monotonic()
    touched, said = _touched(file), False
    while True:
        try:
            lock.acquire(timeout=min(1.0, SAY_AFTER, GIVE_UP_AFTER))
            return True
        except Timeout:
            pass
        except (OSError, NotImplementedError):
            return False
        now, before, touched = time.monotonic(), touched, _touched(file)
        if touched != before:
            last_sign = now
        if not said and now - began >= SAY_AFTER:
            said = True
            LOG.warning("waiting for another process, which holds the lock %s", file)
        if now - last_sign >= GIVE_UP_AFTER:
            minutes = GIVE_UP_AFTER / 60
            LOG.warning("going on without the lock %s: no sign of life of its holder for %.0f minutes", file, minutes)
            return False


def _give_signs(file: Path, released: threading.Event) -> None:
    while not released.wait(SIGN_EVERY):
        with suppress(OSError):
            os.utime(file)


def _touched(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
