"""Nearest neighbours by cosine among embeddings that need not fit into memory.

Up to `EXACT_BELOW` multiplications every pair is compared, block by block. Above that an index of FAISS proposes
neighbours (IVF-PQ: cells of similar vectors, each vector in 64 bytes), and their exact cosines decide; how often it
proposes the nearest one is measured against the exact search for some of the queries.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clip_robustness.errors import InputError
from clip_robustness.files import whole
from clip_robustness.models.features import Vectors
from clip_robustness.overlap.embeddings import Embedded

Rows = NDArray[np.int64]
"""Shape (queries, k): rows over all shards in their order; -1 where there are fewer than k."""
Done = Callable[[int], object]

EXACT_BELOW = 2e13
"""Queries x vectors x width that are compared exactly: some minutes on two cores, seconds on a GPU."""
_CODE_BYTES = 64
_PROPOSED = 64
_TRAINED_ON = 40
"""Vectors a cell that the index is trained on."""
_CHECKED = 500
"""Queries that recall is measured on."""


@dataclass(frozen=True)
class Neighbours:
    """The `k` nearest of each query, nearest first: cosines float32 and rows, (queries, k). `how` says how they were
    found; `recall` is the share of queries whose nearest one was found, of `checked`, None for an exact search."""

    cosines: Vectors
    rows: Rows
    how: str
    recall: float | None = None
    checked: int = 0


def nearest(
    queries: Vectors,
    shards: Sequence[Embedded],
    k: int,
    *,
    folder: Path,
    device: torch.device,
    method: str = "auto",
    probes: int = 32,
    done: Done = lambda rows: None,
) -> Neighbours:
    """`queries` (n, width) have length 1. `method`: auto, exact or ivfpq. An index is kept in `folder`.

    Raises `InputError` where FAISS is needed and missing.
    """
    work = len(queries) * sum(shard.count for shard in shards) * queries.shape[1]
    if method == "exact" or (method == "auto" and work <= EXACT_BELOW):
        cosines, rows = exact(queries, shards, k, device, done)
        return Neighbours(cosines, rows, "exact")
    return _by_index(queries, shards, k, folder, device, probes, done)


def exact(
    queries: Vectors, shards: Sequence[Embedded], k: int, device: torch.device, done: Done = lambda rows: None
) -> tuple[Vectors, Rows]:
    """Every pair is compared; vectors are read once, in blocks, while all queries stay on the device."""
    asked = torch.from_numpy(queries).to(device)
    best = torch.full((len(queries), k), -torch.inf, device=device)
    rows = torch.full((len(queries), k), -1, dtype=torch.int64, device=device)
    first = 0
    for shard in shards:
        for start, block in shard.blocks(queries.shape[1]):
            vectors = torch.from_numpy(block).to(device)
            for part in range(0, len(vectors), 8192):
                some = vectors[part : part + 8192]
                for begin in range(0, len(asked), 8192):
                    chosen = slice(begin, begin + 8192)
                    found, places = (asked[chosen] @ some.T).topk(min(k, len(some)), dim=1)
                    places += first + start + part
                    merged, order = torch.cat([best[chosen], found], 1).topk(k, dim=1)
                    rows[chosen] = torch.cat([rows[chosen], places], 1).gather(1, order)
                    best[chosen] = merged
            done(len(block))
        first += shard.count
    return best.cpu().numpy(), rows.cpu().numpy()


def _by_index(
    queries: Vectors, shards: Sequence[Embedded], k: int, folder: Path, device: torch.device, probes: int, done: Done
) -> Neighbours:
    faiss = _faiss()
    index = _index(faiss, shards, queries.shape[1], folder, device, done)
    faiss.extract_index_ivf(index).nprobe = probes
    proposed = index.search(queries, max(k, _PROPOSED))[1]
    cosines, rows = _exactly(queries, shards, proposed, k)
    some = np.random.default_rng(0).permutation(len(queries))[:_CHECKED]
    true = exact(queries[some], shards, 1, device)[0][:, 0]
    # a copy of the nearest one is as good as it
    recall = float((cosines[some, 0] >= true - 1e-5).mean())
    how = f"IVF-PQ, {faiss.extract_index_ivf(index).nlist} cells, {probes} of them looked into"
    return Neighbours(cosines, rows, how, recall, len(some))


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise InputError(
            "so many embeddings are searched with the library faiss; pip install faiss-cpu (or a build for your GPU), "
            "or wait for --search exact"
        ) from None


def _index(faiss: Any, shards: Sequence[Embedded], width: int, folder: Path, device: torch.device, done: Done) -> Any:
    """Of all shards, from the file of an earlier run where there is one."""
    stamps = [(str(shard.file), shard.shard.stamp, shard.count) for shard in shards]
    file = folder / f"index-{hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]}.faiss"
    if file.is_file():
        return faiss.read_index(str(file))
    total = sum(shard.count for shard in shards)
    cells = max(1, min(int(2 * np.sqrt(total)), total // 39, 1 << 18))
    index = faiss.index_factory(width, _recipe(width, cells), faiss.METRIC_INNER_PRODUCT)
    on_gpu = device.type == "cuda" and hasattr(faiss, "index_cpu_to_all_gpus")
    working = faiss.index_cpu_to_all_gpus(index) if on_gpu else index
    working.train(_some(shards, width, min(total, _TRAINED_ON * cells)))
    for shard in shards:
        for _, block in shard.blocks(width):
            working.add(block)
            done(len(block))
    index = faiss.index_gpu_to_cpu(working) if on_gpu else working
    with whole(file) as partial:
        faiss.write_index(index, str(partial))
    return index


def _recipe(width: int, cells: int) -> str:
    """Codes of 64 bytes; where the width is no multiple of 64 the vectors are turned to one that is. `np`: codes are
    not sorted for searches by Hamming distance, which nothing here does: a second and more a byte."""
    code = min(_CODE_BYTES, width)
    turned = f"OPQ{code}_{code * max(1, width // code)}," if width % code else ""
    return f"{turned}IVF{cells},PQ{code}x8np"


def _some(shards: Sequence[Embedded], width: int, count: int) -> Vectors:
    """Vectors from all over the shards, `count` or somewhat more."""
    total = sum(shard.count for shard in shards)
    rng = np.random.default_rng(0)
    taken = []
    for shard in shards:
        share = min(shard.count, int(np.ceil(count * shard.count / total)))
        vectors = np.load(shard.file, mmap_mode="r", allow_pickle=False)
        rows = np.sort(rng.permutation(shard.count)[:share]) if share else np.zeros(0, np.int64)
        block = np.asarray(vectors[rows], np.float32)
        lengths = np.linalg.norm(block, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        taken.append(block[usable] / lengths[usable, None])
    return np.concatenate(taken)


def _exactly(queries: Vectors, shards: Sequence[Embedded], proposed: Rows, k: int) -> tuple[Vectors, Rows]:
    """The k proposals of the highest cosine; their vectors are read shard by shard."""
    cosines = np.full(proposed.shape, -np.inf, np.float32)
    first = 0
    for shard in shards:
        who, which = np.nonzero((proposed >= first) & (proposed < first + shard.count))
        vectors = np.load(shard.file, mmap_mode="r", allow_pickle=False)
        order = np.argsort(proposed[who, which], kind="stable")  # the disk is read from start to end
        for some in np.array_split(order, max(1, len(order) // 65536)):
            near = np.asarray(vectors[proposed[who[some], which[some]] - first], np.float32)
            lengths = np.linalg.norm(near, axis=1)
            products = np.einsum("ij,ij->i", queries[who[some]], near)
            usable = np.isfinite(lengths) & (lengths > 0)
            cosines[who[some], which[some]] = np.where(usable, products / np.where(usable, lengths, 1), -np.inf)
        first += shard.count
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, best, 1), np.take_along_axis(proposed, best, 1)
