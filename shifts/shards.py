"""WebDataset shards in the layout of the `clip-benchmark/wds_*` sets: an image and a `.cls` a sample, `classnames.txt`.

Shards are streams: each is unpacked once into the cache folder, so that any image can be read at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.cache import cache_folder, kept
from models.errors import InputError
from shifts.image_set import Item
from shifts.sources import Records, optional, read_json

_IMAGES = ("jpg", "jpeg", "png", "webp")
_LARGEST = 1 << 28
"""Bytes of a file that is unpacked: no image comes near."""
_DIGITS = 10
"""No class has such a number."""


def read(data: str, urls: str) -> Records:
    """All samples of `urls`, files or addresses with braces: `/path/{0..9}.tar`.

    A shard that ends early gives what comes before the end, and a warning. Raises `InputError` for one that is missing
    or holds no sample.
    """
    wds = optional("webdataset", data, f"wds:{urls}")
    if urls.startswith("pipe:"):
        raise InputError(f"data set '{data}': wds:{urls} would run a command; copy the shards and name the files")
    shards = wds.shardlists.expand_urls(urls)
    if missing := [s for s in shards if _is_local(s) and not Path(s).is_file()]:
        raise InputError(
            f"data set '{data}': there is no shard {missing[0]} ({len(missing)} of {len(shards)} are missing)"
        )
    items, warnings = [], []
    for shard in shards:
        folder, index = _unpacked(wds, shard)
        name = Path(shard).stem
        items += [Item(f"{name}/{key}", folder / file, label) for key, file, label in index["samples"]]
        warnings += [f"data set '{data}': shard {shard} {fault}" for fault in index["faults"]]
    if not items:
        raise InputError("; ".join([*warnings, f"data set '{data}': {urls} holds no image with a .cls file"]))
    return Records(urls, tuple(items), _classnames(shards[0]), tuple(warnings))


def _is_local(shard: str) -> bool:
    return "://" not in shard


def _unpacked(wds: Any, shard: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a shard's images, and what is in it: (key, file, label) a sample, and what is wrong with it."""
    identity = [shard]
    if _is_local(shard):
        status = Path(shard).stat()
        identity = [str(Path(shard).resolve()), str(status.st_size), str(status.st_mtime_ns)]
    folder = cache_folder() / "unpacked" / hashlib.sha256("\n".join(identity).encode()).hexdigest()[:24]
    kept(folder, lambda partial: _unpack(wds, shard, partial))
    return folder, read_json(folder / "index.json")


def _unpack(wds: Any, shard: str, folder: Path) -> None:
    folder.mkdir()
    faults: list[str] = []
    samples: list[tuple[str, str, int]] = []
    incomplete: list[str] = []

    def found() -> Iterator[dict[str, Any]]:
        try:
            yield from wds.tariterators.group_by_keys(_files(wds, shard, faults))
        except Exception as error:  # of tar, of gzip, of whatever else it may be compressed by, of the address
            faults.append(f"can't be read to its end after {len(samples)} images ({error})")

    for sample in found():
        extension = next((e for e in _IMAGES if e in sample), None)
        label = sample.get("cls", b"").decode(errors="replace").strip()
        if extension is None or not (label.isdecimal() and len(label) < _DIGITS):
            incomplete.append(sample["__key__"])
            continue
        file = folder / f"{len(samples):06d}.{extension}"
        file.write_bytes(sample[extension])
        if _is_local(shard):  # outcomes are kept for a file of this time: let it be the shard's, whenever unpacked
            time = Path(shard).stat().st_mtime_ns
            os.utime(file, ns=(time, time))
        samples.append((sample["__key__"], file.name, int(label)))
    if incomplete:
        faults.append(f"has {len(incomplete)} samples without an image or a .cls number (first: {incomplete[0]})")
    (folder / "index.json").write_text(json.dumps({"samples": samples, "faults": faults}), encoding="utf-8")


def _files(wds: Any, shard: str, faults: list[str]) -> Iterator[dict[str, Any]]:
    """Those that samples may have, none too large to hold: a small archive can unpack to more than the memory."""
    with wds.gopen(shard) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            if not member.isreg() or member.name.rpartition(".")[2].lower() not in (*_IMAGES, "cls"):
                continue
            content = tar.extractfile(member)
            if content is None or member.size > _LARGEST:
                faults.append(f"has a file of {member.size} bytes, {member.name}, which is left out")
                continue
            yield {"fname": member.name, "data": content.read(), "__url__": shard}


def _classnames(shard: str) -> tuple[str, ...]:
    """The lines of `classnames.txt` beside the shards or above them; none where there is no such file."""
    for place in Path(shard).parents[:2]:
        if (file := place / "classnames.txt").is_file():
            return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    return ()
