"""Embeddings of pre-training images: computed shard by shard and kept, or ready-made; read in blocks.

A shard is written whole under a name of its own, so a killed run goes on with the shard that it was at.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clip_robustness.datasets.dataset import read_image
from clip_robustness.errors import InputError
from clip_robustness.files import whole
from clip_robustness.models.features import Encoder, Vectors
from clip_robustness.overlap.sources import Shard, keys_of, parquet, shard_errors

_BLOCK_BYTES = 128 << 20
_LENGTH_TOLERANCE = 0.02
"""Lengths of embeddings so far from 1 are more than what float16 makes of them."""


@dataclass
class Embedded:
    """A shard with its embeddings, float16 or float32 (count, width) in `file`. What is found wrong on the way is noted
    in `faults`."""

    shard: Shard
    file: Path
    count: int
    faults: list[str] = field(default_factory=list)

    def blocks(self, width: int) -> Iterator[tuple[int, Vectors]]:
        """(first row, vectors of length 1); what is not finite or has no length is 0 there, near to nothing."""
        vectors = np.load(self.file, mmap_mode="r", allow_pickle=False)
        rows = max(1, _BLOCK_BYTES // (4 * width))
        broken = 0
        longest, shortest = 1.0, 1.0
        for start in range(0, self.count, rows):
            block = np.array(vectors[start : start + rows], np.float32)
            lengths = np.linalg.norm(block, axis=1)
            usable = np.isfinite(lengths) & (lengths > 0)
            broken += int((~usable).sum())
            if usable.any():
                longest, shortest = max(longest, lengths[usable].max()), min(shortest, lengths[usable].min())
            block[~usable] = 0
            block /= np.where(usable, lengths, 1)[:, None]
            yield start, block
        if broken:
            self.note(f"{self.shard.name}: {broken} of {self.count} embeddings are NaN, infinite or 0; left out")
        if longest > 1 + _LENGTH_TOLERANCE or shortest < 1 - _LENGTH_TOLERANCE:
            self.note(
                f"{self.shard.name}: embeddings are not normalised (lengths {shortest:.3g} to {longest:.3g}); "
                "they were here"
            )

    def note(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)

    def keys(self) -> Sequence[str]:
        if self.shard.metadata:
            return keys_of(self.shard.metadata)
        keys: list[str] = json.loads(_notes_of(self.file).read_text(encoding="utf-8"))["keys"]
        return keys

    def images(self, wanted: Iterable[str]) -> Iterator[tuple[str, Image.Image]]:
        """Decoded images of these keys, in the order of the shard; nothing where there are embeddings alone."""
        if self.shard.read is None:
            return
        left = set(wanted)
        try:
            for key, content in self.shard.read():
                if key in left:
                    left.remove(key)
                    yield key, _decoded(content())
                if not left:
                    return
        except shard_errors():  # noted when it was embedded
            return


def embed_all(
    shards: Sequence[Shard], encoder: Encoder, folder: Path, done: Callable[[int], object] = lambda count: None
) -> tuple[list[Embedded], list[str]]:
    """All shards that can be used, and a sentence for each that can't. `done` is told how many images each had.

    Raises `InputError` where no shard can be used.
    """
    embedded, left_out = [], []
    for shard in shards:
        try:
            one = _ready(shard, encoder) if shard.vectors else _computed(shard, encoder, folder)
        except shard_errors() as error:
            left_out.append(f"{shard.name}: left out: {str(error) or type(error).__name__}")
            continue
        embedded.append(one)
        done(one.count)
    if not any(one.count for one in embedded):
        raise InputError(f"no pre-training image can be used; {'; '.join(left_out) or 'the shards are empty'}")
    return embedded, left_out


def embed(
    images: Iterable[tuple[str, Callable[[], Image.Image]]], encoder: Encoder
) -> Iterator[tuple[list[str], Vectors, list[str]]]:
    """Batch by batch: keys, their embeddings, and the keys of images that can't be decoded."""

    def prepared(sample: tuple[str, Callable[[], Image.Image]]) -> tuple[str, Image.Image | None]:
        key, image = sample
        try:
            return key, encoder.geometry(image())
        except OSError:
            return key, None

    images = iter(images)
    with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:
        while batch := list(islice(images, encoder.batch)):
            pairs = list(pool.map(prepared, batch))
            good = [(key, image) for key, image in pairs if image is not None]
            vectors = encoder([image for _, image in good]) if good else np.zeros((0, encoder.width), np.float32)
            yield [key for key, _ in good], vectors, [key for key, image in pairs if image is None]


def _ready(shard: Shard, encoder: Encoder) -> Embedded:
    """Raises `ValueError` saying why ready embeddings can't be used."""
    assert shard.vectors is not None
    assert shard.metadata is not None
    vectors = np.load(shard.vectors, mmap_mode="r", allow_pickle=False)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(f"embeddings are {vectors.dtype} {vectors.shape}, float (rows, width) is expected")
    if vectors.shape[1] != encoder.width:
        raise ValueError(
            f"embeddings have {vectors.shape[1]} numbers, those of {encoder.name} have {encoder.width}; name the "
            "encoder that made them"
        )
    rows = parquet(shard.metadata).metadata.num_rows
    if rows != len(vectors):
        raise ValueError(f"{len(vectors)} embeddings, but {rows} rows in {shard.metadata.name}")
    return Embedded(shard, shard.vectors, len(vectors))


def _computed(shard: Shard, encoder: Encoder, folder: Path) -> Embedded:
    assert shard.read is not None
    name = "".join(c if c.isalnum() or c in "-._" else "_" for c in shard.name)
    file = folder / encoder.fingerprint / f"{name}-{shard.stamp}.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        _compute(shard, encoder, file)
    notes = json.loads(_notes_of(file).read_text(encoding="utf-8"))
    return Embedded(shard, file, len(notes["keys"]), list(notes["faults"]))


def _compute(shard: Shard, encoder: Encoder, file: Path) -> None:
    assert shard.read is not None
    keys: list[str] = []
    broken: list[str] = []
    blocks: list[np.ndarray] = [np.zeros((0, encoder.width), np.float16)]
    faults: list[str] = []

    def images() -> Iterator[tuple[str, Callable[[], Image.Image]]]:
        assert shard.read is not None
        try:
            for key, content in shard.read():
                yield key, partial(_decoded, _bytes(content))
        except shard_errors() as error:
            faults.append(f"{shard.name}: can't be read to its end ({str(error) or type(error).__name__})")

    for found, vectors, failed in embed(images(), encoder):
        keys += found
        broken += failed
        blocks.append(vectors.astype(np.float16))
    if broken:
        faults.append(f"{shard.name}: {len(broken)} images can't be decoded (first: {broken[0]}); left out")
    if faults and not keys:
        raise ValueError("; ".join(fault.partition(": ")[2] for fault in faults))
    replace_file(_notes_of(file), json.dumps({"keys": keys, "faults": faults}, ensure_ascii=False).encode())
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(blocks), allow_pickle=False)
    replace_file(file, buffer.getvalue())  # the last: where it is, the notes are


def _bytes(content: Callable[[], bytes]) -> bytes:
    """b"", which no decoder takes, where one file of many can't be read."""
    try:
        return content()
    except OSError:
        return b""


def _decoded(content: bytes) -> Image.Image:
    return read_image(io.BytesIO(content))


def _notes_of(file: Path) -> Path:
    return file.with_suffix(".json")


def replace_file(file: Path, content: bytes) -> None:
    with whole(file) as partial:
        partial.write_bytes(content)
