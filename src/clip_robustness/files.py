"""Paths as users write them, and files and folders that are there whole or not at all."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_robustness.errors import InputError

_HERE = Path()
_LONGEST = 4095
"""Bytes of a path."""
_VALUES, _VALUES_A_BYTE = 1_000_000, 16
"""How many values may be packed in a file: whatever its size, and more for each byte of it."""


def expanded(text: str, folder: Path = _HERE) -> Path:
    """A path with `$VAR`, `${VAR}` and a leading `~` or `~user` replaced; a relative one is relative to `folder`.

    What exists as it is written is meant as it is written. Raises `InputError` for a variable that is not set, for a
    home that is not known, and for what no file is called.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError(f"path '{text}': its name is not in UTF-8; rename it") from None
    if size > _LONGEST and "{" not in text:  # braces stand for many shards
        raise InputError(f"path '{text[:40]}…': it is longer than file systems allow")
    if "$" in text and (folder / text).exists():
        return folder / text
    try:
        return folder / Path(re.sub(r"\$(?:(\w+)|\{(\w+)\})", _variable, text)).expanduser()
    except (KeyError, RuntimeError) as error:
        reason = f"${error.args[0]} is not set" if isinstance(error, KeyError) else "there is no such home"
        raise InputError(f"path '{text}': {reason}; write the path in full") from None


def _variable(named: re.Match[str]) -> str:
    """Raises `KeyError` where it is empty, too: '$DATA/val' is never meant to be '/val'."""
    name = named[1] or named[2]
    if not os.environ[name]:
        raise KeyError(name)
    return os.environ[name]


def argument(text: str) -> Path:
    """`expanded`, as a type of `argparse`."""
    try:
        return expanded(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextmanager
def whole(place: Path) -> Iterator[Path]:
    """A path beside `place` to write a file or folder to, which takes its place at the end; where writing fails it is
    removed, as half of a file takes the room that others need."""
    partial = place.with_name(f".{place.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")  # hosts may share a disk
    try:
        yield partial
        partial.replace(place)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise


def is_bomb(content: bytes, packed: int) -> bool:
    """Whether JSON that `packed` bytes were unpacked to holds far more values than what was written to be read: a value
    takes up to a hundred bytes of memory, and nearly nothing of a file where they repeat."""
    return sum(content.count(mark) for mark in (b",", b"[", b"{")) > _VALUES + _VALUES_A_BYTE * packed
