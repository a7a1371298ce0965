"""The analysis from end to end: test images and shards of pre-training images in, near-duplicates out."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.doing import doing, progress
from clip_robustness.errors import InputError
from clip_robustness.models.features import Encoder, Vectors
from clip_robustness.overlap import gallery
from clip_robustness.overlap.alike import Small, alike
from clip_robustness.overlap.calibration import Scores, by_cosine, by_pixels, copied, others, to_copy, to_mirror
from clip_robustness.overlap.embeddings import Embedded, embed, embed_all, replace_file
from clip_robustness.overlap.found import RESULT, Calibration, Found, Overlap, Pair, write
from clip_robustness.overlap.search import Neighbours, nearest
from clip_robustness.overlap.sources import Source

NEIGHBOURS = 8
"""Of each test image, whose pixels are compared."""
_KEPT = 10_000
"""Test images that are kept decoded, at 64 px."""
GALLERY = "gallery.html"


@dataclass(frozen=True)
class Asked:
    """A test image of a data set, as it is or in a mirror, and its embedding (width,)."""

    data: str
    sample: Sample
    vector: Vectors
    mirrored: bool = False


@dataclass(frozen=True)
class Candidate:
    """A test image and the pre-training image `key` in shard number `shard`, which may be its copy."""

    data: str
    sample: Sample
    shard: int
    row: int
    cosine: float
    mirrored: bool = False
    key: str = ""
    alike: float | None = None

    def is_copy(self, limits: Calibration) -> bool:
        """`cosine` is above its limit already."""
        return limits.alike is None or (self.alike is not None and self.alike >= limits.alike)

    @property
    def closeness(self) -> float:
        return self.cosine if self.alike is None else self.alike


def analyse(
    sets: Sequence[Dataset],
    source: Source,
    encoder: Encoder,
    out: Path,
    *,
    search: str = "auto",
    neighbours: int = NEIGHBOURS,
    shown: int = gallery.SHOWN,
) -> Found:
    """Write `overlap.json` and `gallery.html` to `out`, where embeddings are kept for a later call, too.

    `neighbours` of each test image are compared with it; `shown` pairs of each data set are in the gallery. Raises
    `InputError` where nothing can be compared.
    """
    kept = out / "embeddings"
    with progress(None, "pre-training images", "image") as done:
        shards, left_out = embed_all(source.shards, encoder, kept, done)
    pixels = shards[0].shard.read is not None
    if any((shard.shard.read is not None) != pixels for shard in shards):
        raise InputError(
            "--pretraining: some sources are images, some are embeddings; analyse them one after the other"
        )
    vectors = {s.name: _of_tests(s, encoder, kept) for s in sets}
    with doing("embedding copies of test images, by which the limits are found"):
        made = {s.name: copied(to_copy(s, vectors[s.name]), vectors[s.name], encoder) for s in sets}
    if not pixels:
        limits = {s.name: by_cosine(made[s.name], others(s, vectors[s.name])) for s in sets}
    asked = [
        Asked(s.name, sample, vectors[s.name][sample.id])
        for s in sets
        for sample in s.samples
        if sample.id in vectors[s.name]
    ]
    if pixels:
        asked += [one for s in sets for one in _mirrored(s.name, to_mirror(s, vectors[s.name]), encoder)]
    total = sum(shard.count for shard in shards)
    queries = np.stack([one.vector for one in asked])
    with progress(total, "search", "vector") as done:
        near = nearest(queries, shards, neighbours, folder=kept, device=encoder.device, method=search, done=done)
    least = {s.name: made[s.name].cosine_limit if pixels else limits[s.name].cosine for s in sets}
    judged = _compared(_candidates(asked, near, shards, least), shards)
    if pixels:
        scores = {(s.name, flag): _closest(s.name, asked, judged, flag) for s in sets for flag in (False, True)}
        limits = {s.name: by_pixels(made[s.name], scores[s.name, True], scores[s.name, False]) for s in sets}
    judged = [one for one in judged if not one.mirrored]
    data = {s.name: _overlap(s, vectors[s.name], limits[s.name], judged) for s in sets}
    how = near.how + (
        "" if near.recall is None else f"; it finds the nearest one of {near.recall:.1%} of {near.checked} images"
    )
    left_out += [fault for shard in shards for fault in shard.faults]
    found = Found(encoder.name, encoder.fingerprint, total, how, data, (*source.left_out, *left_out))
    write(found, out / RESULT)
    gallery.write(found, _pictures(judged, limits, shards, shown), out / GALLERY)
    return found


def _of_tests(images: Dataset, encoder: Encoder, folder: Path) -> dict[str, Vectors]:
    """Embeddings of the test images that can be decoded, by id; from the file of an earlier call where there is one."""
    identity = hashlib.sha256(repr([(sample.id, sample.stamp, sample.border) for sample in images.samples]).encode())
    file = folder / encoder.fingerprint / f"test-{images.name}-{identity.hexdigest()[:12]}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as content:
            return dict(zip(content["ids"].tolist(), content["vectors"], strict=True))
    ids: list[str] = []
    blocks: list[Vectors] = []
    with progress(len(images), images.name, "image") as done:
        for found, vectors, broken in embed(((sample.id, sample.image) for sample in images.samples), encoder):
            ids += found
            blocks.append(vectors)
            done(len(found) + len(broken))
    if not ids:
        raise InputError(f"data set '{images.name}': no image can be decoded")
    buffer = io.BytesIO()
    together = np.concatenate(blocks)
    np.savez(buffer, ids=np.array(ids), vectors=together)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, buffer.getvalue())
    return dict(zip(ids, together, strict=True))


def _mirrored(data: str, samples: Sequence[Sample], encoder: Encoder) -> list[Asked]:
    images = ((sample.id, partial(_in_a_mirror, sample)) for sample in samples)
    vectors = [vector for _, block, _ in embed(images, encoder) for vector in block]
    return [Asked(data, sample, vector, mirrored=True) for sample, vector in zip(samples, vectors, strict=True)]


def _in_a_mirror(sample: Sample) -> Image.Image:
    return ImageOps.mirror(sample.image())


def _closest(data: str, asked: Sequence[Asked], judged: Sequence[Candidate], mirrored: bool) -> Scores:
    """How alike the closest pre-training image is to each image of a data set, (n,); -1 where no pixels were
    compared."""
    best = {one.sample.id: -1.0 for one in asked if one.data == data and one.mirrored == mirrored}
    for one in judged:
        if one.data == data and one.mirrored == mirrored and one.alike is not None:
            best[one.sample.id] = max(best[one.sample.id], one.alike)
    return np.array(list(best.values()))


def _candidates(
    asked: Sequence[Asked], near: Neighbours, shards: Sequence[Embedded], least: Mapping[str, float]
) -> list[Candidate]:
    """Neighbours whose cosine is high enough."""
    ends = np.cumsum([shard.count for shard in shards])
    found = []
    for one, cosines, rows in zip(asked, near.cosines, near.rows, strict=True):
        for cosine, row in zip(cosines, rows, strict=True):
            if row >= 0 and cosine >= least[one.data]:
                number = int(np.searchsorted(ends, row, "right"))
                first = int(ends[number]) - shards[number].count
                found.append(Candidate(one.data, one.sample, number, int(row) - first, float(cosine), one.mirrored))
    return found


def _compared(candidates: Sequence[Candidate], shards: Sequence[Embedded]) -> list[Candidate]:
    """With their keys and, where there are pixels, how alike these are; shard by shard."""
    by_shard: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_shard[candidate.shard].append(candidate)
    judged = []
    known: dict[tuple[str, str, bool], Small] = {}

    def small(one: Candidate) -> Small:
        key = one.data, one.sample.id, one.mirrored
        if key not in known:
            if len(known) >= _KEPT:
                known.clear()
            known[key] = Small(_in_a_mirror(one.sample) if one.mirrored else one.sample.image())
        return known[key]

    with progress(len(candidates), "pairs", "pair") as done:
        for number, members in sorted(by_shard.items()):
            keys = shards[number].keys()
            named = [replace(member, key=keys[member.row]) for member in members]
            wanted = defaultdict(list)
            for member in named:
                wanted[member.key].append(member)
            for key, image in shards[number].images(wanted):
                theirs = Small(image)
                judged += [replace(one, alike=alike(small(one), theirs)) for one in wanted.pop(key)]
            judged += [member for members in wanted.values() for member in members]
            done(len(members))
    return judged


def _overlap(
    images: Dataset, vectors: Mapping[str, Vectors], limits: Calibration, judged: Sequence[Candidate]
) -> Overlap:
    """The closest copy of each image that has one."""
    closest: dict[str, Candidate] = {}
    for one in judged:
        if one.data == images.name and one.is_copy(limits):
            known = closest.get(one.sample.id)
            closest[one.sample.id] = one if known is None or one.closeness > known.closeness else known
    ordered = sorted(closest.values(), key=lambda one: (one.closeness, one.sample.id))
    pairs = tuple(Pair(one.sample.id, one.key, one.cosine, one.alike) for one in ordered)
    unreadable = tuple(sample.id for sample in images.samples if sample.id not in vectors)
    return Overlap(len(vectors), limits, pairs, unreadable)


def _pictures(
    judged: Sequence[Candidate], limits: Mapping[str, Calibration], shards: Sequence[Embedded], shown: int
) -> list[gallery.Shown]:
    """Of each data set the pairs that are nearest to the limit, on both sides of it: those that a person should
    judge."""
    chosen: list[Candidate] = []
    for name in limits:
        closest: dict[str, Candidate] = {}
        for one in sorted((one for one in judged if one.data == name), key=lambda one: one.closeness):
            closest[one.sample.id] = one
        ordered = sorted(closest.values(), key=lambda one: one.closeness)
        apart = [one for one in ordered if not one.is_copy(limits[name])][-(shown // 2) :]
        copies = [one for one in ordered if one.is_copy(limits[name])]
        chosen += [*apart, *copies[: shown - len(apart)]]
    wanted: dict[int, list[str]] = defaultdict(list)
    for one in chosen:
        wanted[one.shard].append(one.key)
    theirs = {
        (number, key): gallery.picture(image)
        for number, keys in wanted.items()
        for key, image in shards[number].images(keys)
    }
    return [
        gallery.Shown(
            one.data,
            one.is_copy(limits[one.data]),
            one.sample.id,
            one.key,
            one.cosine,
            one.alike,
            gallery.picture(one.sample.image()),
            theirs.get((one.shard, one.key)),
        )
        for one in chosen
    ]
