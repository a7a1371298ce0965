"""Search among embeddings of width 512: seconds, memory and recall@1 of the index, and of the exact search.

pytest tests/benchmarks/test_overlap_scale.py -s; OVERLAP_ROWS=100000,1000000,5000000 takes 6 GB
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness.overlap.embeddings import Embedded
from clip_robustness.overlap.search import exact, nearest
from clip_robustness.overlap.sources import Shard

WIDTH, QUERIES, A_SHARD, TOPICS = 512, 50_000, 100_000, 20_000
ROWS = [int(rows) for rows in os.environ.get("OVERLAP_ROWS", "100000").split(",")]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def vectors_of(rng, topics, count):
    """Pictures of a topic are closer to each other than to others, as embeddings are: cosine about 0.6."""
    about = topics[rng.integers(len(topics), size=count)]
    return unit(about + 0.8 * unit(rng.standard_normal((count, WIDTH), np.float32)))


def written(folder, rows):
    """Shards of `rows` embeddings, float16, and queries, every tenth of which has a near-duplicate there, at 0.95."""
    rng = np.random.default_rng(0)
    topics = unit(rng.standard_normal((TOPICS, WIDTH), np.float32))
    queries = vectors_of(rng, topics, QUERIES)
    shards = []
    for number in range(-(-rows // A_SHARD)):
        count = min(A_SHARD, rows - number * A_SHARD)
        block = vectors_of(rng, topics, count)
        if number == 0:
            copied = queries[::10]
            block[: len(copied)] = unit(copied + 0.33 * unit(rng.standard_normal(copied.shape, np.float32)))
        file = folder / f"{number:05d}.npy"
        np.save(file, block.astype(np.float16))
        shards.append(Embedded(Shard(file.name, str(count)), file, count))
    return queries.astype(np.float32), shards


def measure(rows, exactly):
    """In a process of its own, whose memory is that of the search."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("OVERLAP_DIR")) as place:
        folder = Path(place)
        queries, shards = written(folder, rows)
        before, began, device = peak(), time.perf_counter(), torch.device("cpu")
        found = nearest(queries, shards, 8, folder=folder, device=device, method="ivfpq")
        first, middle = time.perf_counter() - began, time.perf_counter()
        again = nearest(queries, shards, 8, folder=folder, device=device, method="ivfpq")
        second = time.perf_counter() - middle
        assert np.array_equal(found.rows, again.rows)
        (index,) = folder.glob("*.faiss")
        copies = (found.rows[::10, 0] == np.arange(len(queries[::10]))).mean()
        print(
            f"{rows} x {WIDTH}, {len(queries)} queries: {found.how}: {first:.0f} s, {second:.0f} s where the "
            f"index is there; index {index.stat().st_size / 1e6:.0f} MB, peak {peak():.1f} GiB (before {before:.1f}); "
            f"recall@1 {found.recall:.3f} of {found.checked}, near-duplicates found {copies:.4f}",
            flush=True,
        )
        if exactly:
            began = time.perf_counter()
            exact(queries, shards, 8, device)
            print(f"{rows}: exact {time.perf_counter() - began:.0f} s, peak {peak():.1f} GiB", flush=True)


def peak():
    """GiB that this process has held at once, memory-mapped pages included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.mark.parametrize("rows", ROWS)
def test_search_at_scale(rows):
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.test_overlap_scale", str(rows)], capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.partition("recall@1 ")[2].split()[0]) >= 0.9


if __name__ == "__main__":
    measure(int(sys.argv[1]), int(sys.argv[1]) <= int(os.environ.get("OVERLAP_EXACT", "100000")))
