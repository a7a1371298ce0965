"""The outcome store: what each model predicted for each image under each condition, kept as it is computed.

A folder with a file for each cell (model, condition, data, seed, code), named by the cell's key, and a line in it for
each block: a checksum, and the answers with who computed them, as compressed JSON. Lines are only appended, each in one
write. No database: a killed run loses the block that it was computing, a damaged byte costs its block and nothing
else, writers of different cells never meet, and stores of several machines, or on a network file system, are merged
line by line.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from clip_robustness.errors import InputError
from clip_robustness.files import is_bomb, whole
from clip_robustness.locks import locked
from clip_robustness.metrics.outcomes import Prediction

if TYPE_CHECKING:
    from clip_robustness.datasets.dataset import Sample

SUFFIX = ".blocks"
_LARGEST = 1 << 28
"""Bytes of a block that is decompressed: no real one comes near, a malicious one does not fill the memory."""


@dataclass(frozen=True)
class About:
    """Who computed a block, of what: the model's spec, the path of the condition, the data set's name, the version of
    the code, when (UTC, for people; nothing is decided by it but what `gc --days` removes), what is to be said of it,
    and the condition's name and parameters."""

    model: str
    condition: str
    data: str
    seed: int
    code: str
    at: str
    note: str = ""
    name: str = ""
    params: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True)
class Block:
    """Answers to n images: ids, the stamps and digests of their files as they were read, what else of each image the
    answer depends on, such as its label, predictions, and measures by name, (n,) each."""

    about: About
    ids: tuple[str, ...]
    stamps: tuple[str, ...]
    digests: tuple[str, ...]
    asked: tuple[str, ...]
    predictions: tuple[int, ...]
    measures: dict[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        columns = (self.stamps, self.digests, self.asked, self.predictions, *self.measures.values())
        if {len(column) for column in columns} != {len(self.ids)}:
            raise ValueError("a block needs a stamp, a digest, a prediction and every measure for each image")

    def answers(self) -> Iterator[Prediction]:
        for i, prediction in enumerate(self.predictions):
            yield Prediction(prediction, {name: values[i] for name, values in self.measures.items()})


_BLOCK = TypeAdapter(Block)


def block(
    about: About, answers: Sequence[tuple[Sample, Prediction]], given: Mapping[str, tuple[str, str, str]]
) -> Block:
    """`given`: image id -> stamp and digest of what was read, and what was asked. Raises `KeyError` for an image that
    is not in it."""
    stamps, digests, asked = zip(*(given[sample.id] for sample, _ in answers), strict=True)
    names = answers[0][1].measures
    measures = {name: tuple(float(answer.measures[name]) for _, answer in answers) for name in names}
    ids = tuple(sample.id for sample, _ in answers)
    return Block(about, ids, stamps, digests, asked, tuple(int(answer.prediction) for _, answer in answers), measures)


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
        self.append(cell, [_line(cell, stored)])

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


def parse(cell: str, line: bytes) -> Block | None:
    """The block of a line; None where it is not what was written, for this cell."""
    checksum, _, content = line.partition(b" ")
    if checksum != _checksum(cell, content):
        return None
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(base64.b64decode(content, validate=True), _LARGEST)
        return None if is_bomb(text, len(content)) else _BLOCK.validate_json(text)
    except (ValueError, zlib.error, ValidationError):
        return None


def _line(cell: str, stored: Block) -> bytes:
    content = base64.b64encode(zlib.compress(json.dumps(asdict(stored), ensure_ascii=False).encode()))
    return _checksum(cell, content) + b" " + content


def _checksum(cell: str, content: bytes) -> bytes:
    return hashlib.blake2b(cell.encode() + content, digest_size=8).hexdigest().encode()
