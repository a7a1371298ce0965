"""The folder of stored answers: read, written, mended."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clip_robustness.errors import InputError
from clip_robustness.evaluation.store.block import Block, line_of, parse
from clip_robustness.files import whole
from clip_robustness.locks import locked
from clip_robustness.metrics.outcomes import Prediction

SUFFIX = ".blocks"


@dataclass(frozen=True)
class Known:
    """What is stored of a cell: image id -> answer, what is to be said of these, and how many lines are damaged."""

    answers: dict[str, Prediction]
    notes: tuple[str, ...] = ()
    damaged: int = 0


class Store:
    """A folder with the outcomes of all runs. Safe to open from several processes at once."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Raises `InputError` where the folder can't be written, unless it is only to be read."""
        self.folder, self.locks = folder, folder / "locks"
        if read_only:
            return
        try:
            self.locks.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}.probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(f"outcome store {folder}: {error}; give another --report-dir") from error

    def cells(self) -> list[str]:
        """The keys of all cells that something is stored of."""
        return sorted(file.stem for file in self.folder.glob(f"*{SUFFIX}"))

    def file(self, cell: str) -> Path:
        return self.folder / f"{cell}{SUFFIX}"

    def read(self, cell: str) -> tuple[list[Block], list[bytes], int]:
        """The sound blocks of a cell, their lines, and how many lines are not sound."""
        try:
            content = self.file(cell).read_bytes()
        except FileNotFoundError:
            return [], [], 0
        found, damaged = _sound(cell, content)
        return [parsed for parsed, _ in found], [line for _, line in found], damaged

    def known(
        self, cell: str, stamps: Mapping[str, str], digest: Callable[[str], str], asked: Mapping[str, str]
    ) -> Known:
        """What is stored of the images of `stamps`, id -> stamp of the file as it is now, where the same was `asked`.

        A file of another stamp may still have the same content, as on another machine: `digest(id)` says.
        """
        blocks, _, damaged = self.read(cell)
        answers, notes = dict[str, Prediction](), dict.fromkeys(self._mended(cell))
        for stored in blocks:
            before = len(answers)
            columns = stored.ids, stored.stamps, stored.digests, stored.asked, stored.answers()
            for id, stamp, content, what, answer in zip(*columns, strict=True):
                same = id in stamps and id not in answers and asked[id] == what
                if same and (stamps[id] == stamp or digest(id) == content):
                    answers[id] = answer
            if stored.about.note and len(answers) > before:
                notes[stored.about.note] = None
        return Known(answers, tuple(notes), damaged)

    def add(self, cell: str, stored: Block) -> None:
        """Keep a block, all of it or nothing. Raises `OSError` where it can't be written."""
        self.append(cell, [line_of(cell, stored)])

    def append(self, cell: str, lines: Sequence[bytes]) -> None:
        descriptor = os.open(self.file(cell), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # by a crash of the machine
            content = b"\n" * torn + b"".join(line + b"\n" for line in lines)
            if os.write(descriptor, content) < len(content):  # the disk became full
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file(cell)))
        finally:
            os.close(descriptor)

    def replace(self, cell: str, lines: Sequence[bytes]) -> None:
        """Rewrite a cell, which the caller has claimed, whole."""
        if not lines:
            self.file(cell).unlink(missing_ok=True)
            return
        with whole(self.file(cell)) as partial:
            partial.write_bytes(b"".join(line + b"\n" for line in lines))

    def mend(self, cell: str) -> Sequence[str]:
        """Set the file of a cell with damaged blocks aside, keep the sound ones, and say so. The cell is claimed."""
        _, lines, damaged = self.read(cell)
        try:
            self._aside(cell).write_bytes(self.file(cell).read_bytes())
            self.replace(cell, lines)
        except OSError as error:
            return [f"{_damage(self.file(cell), damaged, len(lines))}; they are still in it: {error.strerror or error}"]
        return self._mended(cell)

    def _mended(self, cell: str) -> Sequence[str]:
        """What was wrong with a cell, as long as its damaged file lies beside it: who mended it may not be who reports
        it."""
        try:
            content = self._aside(cell).read_bytes()
        except FileNotFoundError:
            return []
        sound, damaged = _sound(cell, content)
        where = f"the file as it was is {self._aside(cell).name} beside it, until it is removed"
        return [f"{_damage(self.file(cell), damaged, len(sound))}; {where}"]

    def _aside(self, cell: str) -> Path:
        return self.folder / f"{cell}.damaged"

    @contextmanager
    def claimed(self, cell: str) -> Iterator[None]:
        """Hold a cell, so that two workers that need the same one compute it once. Where a lock can't be had, as on a
        disk that became read-only, both compute it: that costs time, not figures."""
        with locked(self.locks / cell):
            yield


def _sound(cell: str, content: bytes) -> tuple[list[tuple[Block, bytes]], int]:
    """The sound blocks with their lines, and how many lines are not sound."""
    lines = content.splitlines()
    found = [(parsed, line) for line in lines if (parsed := parse(cell, line))]
    return found, len(lines) - len(found)


def _damage(file: Path, damaged: int, sound: int) -> str:
    return f"outcome store: {damaged} of {damaged + sound} blocks of {file} were damaged and were computed anew"
