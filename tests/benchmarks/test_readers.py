"""CPU seconds from a line under [data] to 50,000 labelled samples, for each kind of source; no image is decoded.

`pytest tests/benchmarks/test_readers.py --benchmark-columns=min,max`: of this process, not by the clock.
"""

import io
import os
import tarfile
import time
from itertools import count

import pytest
from PIL import Image

from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.load import load

COUNT, IN_A_SHARD = 50_000, 1000
IMAGENET = class_list("imagenet")
LABELS = [i % len(IMAGENET) for i in range(COUNT)]


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, names):
    """Links to one file, some to a folder: file systems have a limit of links."""
    for i, name in enumerate(names):
        file = folder / name
        if not i % 10_000:
            first = file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png())
            continue
        file.parent.mkdir(exist_ok=True)
        os.link(first, file)
    return folder


def wnids(place):
    return str(write(place, [f"{IMAGENET.keys[label]}/{i:05d}.png" for i, label in enumerate(LABELS)]))


def numbers(place):
    return str(write(place, [f"{label}/{i:05d}.png" for i, label in enumerate(LABELS)]))


def flat(place):
    names = [f"ILSVRC2012_val_{i:08d}" for i in range(1, COUNT + 1)]
    write(place, [f"{name}.png" for name in names])
    rows = [f"{name},{IMAGENET.keys[label]} 1 2 3 4" for name, label in zip(names, LABELS, strict=True)]
    place.with_suffix(".csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    return f"flat:{place}?labels={place.with_suffix('.csv')}"


def table(place):
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(IMAGENET.keys))})
    rows = {"image": [{"bytes": png(), "path": None}] * COUNT, "label": LABELS}
    place.mkdir()
    datasets.Dataset.from_dict(rows, features=kinds).to_parquet(str(place / "test-00000-of-00001.parquet"))
    return f"hf:{place}?split=test"


def shards(place):
    pytest.importorskip("webdataset")
    place.mkdir()
    for start in range(0, COUNT, IN_A_SHARD):
        with tarfile.open(place / f"{start // IN_A_SHARD}.tar", "w") as tar:
            for i in range(start, start + IN_A_SHARD):
                for ending, content in (("png", png()), ("cls", str(LABELS[i]).encode())):
                    info = tarfile.TarInfo(f"{i:05d}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return f"wds:{place}/{{0..{COUNT // IN_A_SHARD - 1}}}.tar"


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(
    "kind",
    [wnids, numbers, flat, table, shards, "shards, first time"],
    ids=lambda kind: getattr(kind, "__name__", kind),
)
def test_fifty_thousand_samples(kind, tmp_path, monkeypatch, benchmark):
    """What libraries import and the names of classes cost is not counted, unpacking a shard is where it comes first."""
    caches, first = count(), kind == "shards, first time"
    source = (shards if first else kind)(tmp_path / "source")
    data = "imagenet-v2" if kind is numbers else "imagenet"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))

    def fresh():
        if first:
            monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / f"cache{next(caches)}"))

    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    found = benchmark.pedantic(load, (data, source, IMAGENET), setup=fresh, rounds=2, warmup_rounds=1)
    assert sorted(sample.label for sample in found.samples) == sorted(LABELS)
