"""A block of stored answers, and the line that it is in a file: a checksum, and the block as compressed JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from clip_robustness.files import is_bomb
from clip_robustness.metrics.outcomes import Prediction

if TYPE_CHECKING:
    from clip_robustness.datasets.dataset import Sample

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


def line_of(cell: str, stored: Block) -> bytes:
    content = base64.b64encode(zlib.compress(json.dumps(asdict(stored), ensure_ascii=False).encode()))
    return _checksum(cell, content) + b" " + content


def _checksum(cell: str, content: bytes) -> bytes:
    return hashlib.blake2b(cell.encode() + content, digest_size=8).hexdigest().encode()
