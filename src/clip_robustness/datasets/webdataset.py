"""WebDataset shards in the layout of the `clip-benchmark/wds_*` sets: an image and a `.cls` a sample, `classnames.txt`.

A label can also stand in a `.json` or a `.txt`, and be a text.

Shards are streams: each is unpacked once into the cache folder, so that any image can be read at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from clip_robustness.cache import cache_folder, kept
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.listing import IMAGES, is_hidden
from clip_robustness.datasets.records import UNKNOWN, Records, optional, read_json, said_of
from clip_robustness.datasets.vocabulary import NAMED, NUMBERED, OTHERWISE, is_number, whole
from clip_robustness.errors import InputError

_IMAGES = tuple(ending[1:] for ending in IMAGES)
_LARGEST = 1 << 28
"""Bytes of a file that is unpacked: no image comes near."""
_LABELS = ("cls", "json", "txt")
_FIELDS = (*NAMED, *NUMBERED, *OTHERWISE)
"""Where a `.json` may have the label; names before numbers, which names explain."""
_FORM = "names beside numbers"
"""Of what is unpacked: another one is unpacked anew."""
_Label = int | str | list[int | str]
_LONGEST = 1000
"""Characters of a label: what is longer is no class."""


def read(data: str, place: str) -> Records:
    """All samples of `place`, files or addresses with braces, `/path/{0..9}.tar`; of several images a sample those with
    the ending that `?image=jpg` behind it names.

    A shard that ends early gives what comes before the end, and a warning. Raises `InputError` for one that is missing
    or holds no sample.
    """
    wds = optional("webdataset", data, f"wds:{place}")
    urls, _, ending = place.partition("?image=")
    if urls.startswith("pipe:"):
        raise InputError(f"data set '{data}': wds:{urls} would run a command; copy the shards and name the files")
    shards = wds.shardlists.expand_urls(urls)
    if missing := [s for s in shards if _is_local(s) and not Path(s).is_file()]:
        raise InputError(
            f"data set '{data}': there is no shard {missing[0]} ({len(missing)} of {len(shards)} are missing)"
        )
    if repeated := [shard for shard, times in Counter(shards).items() if times > 1]:
        raise InputError(f"data set '{data}': wds:{urls} names the shard {repeated[0]} more than once")
    samples, labels, said, warnings = [], [], [], []
    for shard, name in zip(shards, _names(shards), strict=True):
        folder, index = _unpacked(wds, shard, ending)
        if several := index["several"]:
            raise InputError(
                f"data set '{data}': shard {shard} has several images in a sample ({several[0]}: "
                f"{', '.join(several[1:])}); choose one: wds:{urls}?image={several[1]}"
            )
        samples += [Sample(f"{name}/{key}", folder / file, UNKNOWN) for key, file, *_ in index["samples"]]
        labels += [tuple(label) if isinstance(label, list) else (label,) for _, _, label, _ in index["samples"]]
        said += [text for *_, text in index["samples"]]
        warnings += [f"data set '{data}': shard {shard} {fault}" for fault in index["faults"]]
    if not samples:
        raise InputError("; ".join([*warnings, f"data set '{data}': {urls} holds no image with a .cls file"]))
    files = {file for shard in shards if (file := _classnames(shard))}
    if len(names := {_lines(file) for file in files}) > 1:
        raise InputError(
            f"data set '{data}': {' and '.join(map(str, sorted(files)))} differ; read them as two data sets"
        )
    classnames = next(iter(names), ())
    explained = {} if classnames else said_of(labels, said)
    mend = "write classnames.txt beside the shards, the name of class 0, of class 1, ..."
    return Records(urls, tuple(samples), tuple(labels), classnames, tuple(warnings), explained, mend)


def _names(shards: Sequence[str]) -> list[str]:
    """What ids of images begin with: the shard's stem, or, where several have it, as much of the path as it takes."""
    paths = [Path(shard) for shard in shards]
    times = Counter(path.stem for path in paths)
    endings = Counter("/".join(p.parts[-n:]) for p in paths if times[p.stem] > 1 for n in range(1, len(p.parts) + 1))
    return [
        path.stem
        if times[path.stem] == 1
        else next(end for n in range(1, len(path.parts) + 1) if endings[end := "/".join(path.parts[-n:])] == 1)
        for path in paths
    ]


def _is_local(shard: str) -> bool:
    return "://" not in shard


def _unpacked(wds: Any, shard: str, ending: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a shard's images, and what is in it: (key, file, label, what is written beside a number) a sample,
    and what is wrong with it."""
    parts = [shard]
    if _is_local(shard):
        status = Path(shard).stat()
        parts = [str(Path(shard).resolve()), str(status.st_size), str(status.st_mtime_ns)]
    identity = "\n".join([*parts, *_IMAGES, ending, _FORM])
    folder = cache_folder() / "unpacked" / hashlib.sha256(identity.encode()).hexdigest()[:24]
    kept(folder, lambda partial: _unpack(wds, shard, ending, partial))
    return folder, read_json(folder / "index.json")


def _unpack(wds: Any, shard: str, ending: str, folder: Path) -> None:
    folder.mkdir()
    faults: list[str] = []
    samples: list[tuple[str, str, _Label, str | None]] = []
    incomplete: list[str] = []
    several: list[str] = []
    times = Counter[str]()

    def found() -> Iterator[dict[str, Any]]:
        try:
            yield from wds.tariterators.group_by_keys(_files(wds, shard, faults))
        except Exception as error:  # of tar, of gzip, of whatever else it may be compressed by, of the address
            faults.append(f"can't be read to its end after {len(samples)} images ({error})")

    for sample in found():
        images = [e for e in ((ending,) if ending else _IMAGES) if e in sample]
        if len(images) > 1 and not several:
            several = [sample["__key__"], *images]
        extension = next(iter(images), None)
        label = next((label for kind in _LABELS if (label := _label(kind, sample.get(kind, b""))) is not None), None)
        if extension is None or label is None:
            incomplete.append(sample["__key__"])
            continue
        file = folder / f"{len(samples):06d}.{extension}"
        file.write_bytes(sample[extension])
        if _is_local(shard):  # outcomes are kept for a file of this time: let it be the shard's, whenever unpacked
            time = Path(shard).stat().st_mtime_ns
            os.utime(file, ns=(time, time))
        key = sample["__key__"]
        times[key] += 1
        beside = _said(sample) if isinstance(label, int) else None
        samples.append((f"{key}#{times[key]}" if times[key] > 1 else key, file.name, label, beside))
    if incomplete:
        faults.append(f"has {len(incomplete)} samples without an image or a label (first: {incomplete[0]})")
    if repeated := [key for key, count in times.items() if count > 1]:
        count = sum(times[key] - 1 for key in repeated)
        faults.append(f"has {count} samples under names of others (first: {repeated[0]})")
    index = {"samples": samples, "faults": faults, "several": several}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _label(kind: str, content: bytes) -> _Label | None:
    """What a member of a sample says its class is, or its classes are, if it does."""
    value: Any = content.decode("utf-8-sig", errors="replace").strip()
    if kind == "json":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict):
            value = next((found for field in _FIELDS if (found := value.get(field)) is not None), None)
        if isinstance(value, list):
            several = [_one(one) for one in value]
            return None if None in several else [one for one in several if one is not None]
    return _one(value)


def _said(sample: dict[str, Any]) -> str | None:
    """What else in a sample may be a name of the class whose number it has."""
    found = [_label(kind, sample.get(kind, b"")) for kind in ("json", "txt")]
    return next((text for text in found if isinstance(text, str)), None)


def _one(value: Any) -> int | str | None:
    if isinstance(value, str):
        value = whole(value.strip())
        value = int(value) if is_number(value) else value or None
        return value if not isinstance(value, str) or len(value) <= _LONGEST else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _files(wds: Any, shard: str, faults: list[str]) -> Iterator[dict[str, Any]]:
    """Those that samples may have, none too large to hold: a small archive can unpack to more than the memory.

    Nothing, `{}`, before a file of the name of one of its neighbours: there another sample begins.
    """
    sample, seen = None, set[str]()
    with wds.gopen(shard) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            path = PurePosixPath(member.name)
            if not member.isreg() or path.suffix[1:].lower() not in (*_IMAGES, *_LABELS):
                continue
            if any(map(is_hidden, path.parts)):
                continue
            content = tar.extractfile(member)
            if content is None or member.size > _LARGEST:
                faults.append(f"has a file of {member.size} bytes, {member.name}, which is left out")
                continue
            stem = wds.tariterators.base_plus_ext(member.name)[0]
            if stem != sample or member.name in seen:
                yield {}
                sample, seen = stem, set()
            seen.add(member.name)
            yield {"fname": member.name, "data": content.read(), "__url__": shard}


def _classnames(shard: str) -> Path | None:
    """`classnames.txt` beside a shard or above it."""
    return next((file for place in Path(shard).parents[:2] if (file := place / "classnames.txt").is_file()), None)


def _lines(file: Path) -> tuple[str, ...]:
    """The name of class 0, of class 1, and so on. Raises `InputError` where one is missing."""
    try:
        lines = file.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a text file in UTF-8: {error}") from None
    if empty := [number for number, line in enumerate(lines, 1) if not line.strip()]:
        raise InputError(f"{file}: line {empty[0]} is empty; a name a line is expected, of classes 0, 1, ...")
    return tuple(line.strip() for line in lines)
