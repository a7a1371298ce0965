"""Pre-training images: where they are, in shards that are read one after the other.

A source is a folder of images, of WebDataset tars (LAION, DataComp: what img2dataset writes), of Parquet files, or of
ready embeddings in the layout of clip-retrieval, or one such file. A shard's images have keys that stay the same.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from clip_robustness.datasets import places
from clip_robustness.datasets.listing import IMAGES, by_ending, is_hidden, list_files
from clip_robustness.errors import InputError
from clip_robustness.files import expanded

Images = Iterator[tuple[str, Callable[[], bytes]]]
"""Keys, and functions that give the bytes of the image file, to be called before the next one is asked for."""

_FILES_A_SHARD = 5000
_BYTES_COLUMNS = ("jpg", "jpeg", "png", "webp", "image")
_PATH_COLUMNS = ("image_path", "path", "file", "file_name", "filename")


@dataclass(frozen=True)
class Shard:
    """`name` is unique among all sources; `stamp` changes with the files.

    `read` gives the images, and may raise `SHARD_ERRORS` on the way; None: there are `vectors`, ready embeddings, and
    `metadata`, a Parquet file with a row each.
    """

    name: str
    stamp: str
    read: Callable[[], Images] | None = None
    vectors: Path | None = None
    metadata: Path | None = None


@dataclass(frozen=True)
class Source:
    """The shards of a source, and a sentence for each file that is none."""

    shards: tuple[Shard, ...]
    left_out: tuple[str, ...] = ()


def shard_errors() -> tuple[type[Exception], ...]:
    """What reading a broken shard raises. `ValueError`: also of pyarrow and numpy."""
    return (OSError, EOFError, ValueError, tarfile.TarError)


def find(place: str) -> Source:
    """The shards of one source, told by what is there. Raises `InputError` where there is nothing."""
    path = expanded(places.folder(place))
    if path.is_file():
        return Source((_of_file(path, path.name),)) if path.suffix in _OF_FILES else _nothing(path)
    if not path.is_dir():
        raise InputError(f"--pretraining {place}: there is no such file or folder")
    if (path / "img_emb").is_dir():
        return _ready(path)
    for suffix in _OF_FILES:
        if files := sorted(path.glob(f"[!.]*{suffix}"), key=_by_number):
            # img2dataset writes a Parquet file of metadata beside each tar
            return Source(tuple(_of_file(file, f"{path.name}/{file.name}") for file in files))
    return _folder(path)


def _nothing(path: Path) -> Source:
    raise InputError(f"--pretraining {path}: a folder, a .tar or a .parquet file is expected")


def find_all(places: Sequence[str]) -> Source:
    """The shards of several sources. An empty one is named, and left out, as long as another one is not."""
    shards: list[Shard] = []
    left_out: list[str] = []
    for place in places:
        try:
            found = find(place)
        except InputError as error:
            left_out.append(str(error))
            continue
        shards += found.shards
        left_out += found.left_out
    if not shards:
        raise InputError("; ".join(left_out))
    names = [shard.name for shard in shards]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two pre-training shards are called '{repeated}'; give their folders different names")
    return Source(tuple(shards), tuple(left_out))


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(n) for n in re.findall(r"\d+", path.stem)], path.name


def stamp_of(*files: Path) -> str:
    """Changes when a file does, without reading it."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _folder(path: Path) -> Source:
    """All images below a folder, some thousand files a shard."""
    listed = list_files(path)
    found = [path / file for file in listed.files]
    left_out = (f"--pretraining {path}: {by_ending(listed.others)}",) if listed.others else ()
    if not found:
        none = f"--pretraining {path}: the folder is empty: no images, .tar, .parquet or img_emb in it"
        raise InputError("; ".join([none, *left_out]))
    blocks = [found[start : start + _FILES_A_SHARD] for start in range(0, len(found), _FILES_A_SHARD)]
    return Source(
        tuple(
            Shard(f"{path.name}/{number:05d}", stamp_of(*block), partial(_read_files, path, block))
            for number, block in enumerate(blocks)
        ),
        left_out,
    )


def _read_files(path: Path, files: Sequence[Path]) -> Images:
    for file in files:
        yield file.relative_to(path).as_posix(), file.read_bytes


def _of_file(file: Path, name: str) -> Shard:
    return Shard(name, stamp_of(file), partial(_OF_FILES[file.suffix], file))


def _read_tar(file: Path) -> Images:
    with tarfile.open(file) as tar:
        for member in tar:
            if member.isfile() and _is_image(member.name):
                yield str(Path(member.name).with_suffix("")), partial(_member, tar, member)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES) and not any(map(is_hidden, PurePosixPath(name).parts))


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(member)
    assert opened is not None
    return opened.read()


def _read_parquet(file: Path) -> Images:
    """Bytes in a column, as img2dataset and `datasets` write them, or paths, relative to the file; without either the
    images of a folder of the file's name, called by the column `key`."""
    table = parquet(file)
    names = table.schema_arrow.names
    column = next((c for c in (*_BYTES_COLUMNS, *_PATH_COLUMNS, "key") if c in names), None)
    if column is None:
        raise ValueError(f"no column of images: one of {', '.join((*_BYTES_COLUMNS, *_PATH_COLUMNS, 'key'))}")
    wanted = list(dict.fromkeys([column, *(c for c in ("key", "status") if c in names)]))
    row = 0
    for batch in table.iter_batches(batch_size=256, columns=wanted):
        for record in batch.to_pylist():
            key = str(record.get("key") or f"row {row}")
            row += 1
            if record.get("status", "success") == "success" and record[column] is not None:
                yield key, partial(_of_record, file, column, record[column])


def _of_record(file: Path, column: str, value: Any) -> bytes:
    if isinstance(value, dict):  # a table of `datasets`: {"bytes": ..., "path": ...}
        value = value["bytes"] or value["path"]
    if isinstance(value, bytes):
        return value
    if column == "key":
        found = sorted((file.parent / file.stem).glob(f"{value}.*"))
        images = [path for path in found if _is_image(path.name)]
        if not images:
            raise FileNotFoundError(f"no image {file.parent / file.stem / str(value)}.*")
        return images[0].read_bytes()
    return (file.parent / str(value)).read_bytes()


_OF_FILES: dict[str, Callable[[Path], Images]] = {".tar": _read_tar, ".parquet": _read_parquet}


def parquet(file: Path) -> Any:
    """Raises `InputError` where the library is missing."""
    try:
        module = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(f"{file}: Parquet files need the library pyarrow; pip install pyarrow") from None
    return module.ParquetFile(file)


def _ready(path: Path) -> Source:
    """`img_emb/img_emb_<n>.npy` with `metadata/metadata_<n>.parquet`."""
    shards, left_out = [], []
    for vectors in sorted((path / "img_emb").glob("[!.]*.npy"), key=_by_number):
        number = vectors.stem.rpartition("_")[2]
        metadata = path / "metadata" / f"metadata_{number}.parquet"
        if not metadata.is_file():
            left_out.append(f"{vectors}: left out, there is no {metadata}")
            continue
        shards.append(Shard(f"{path.name}/{vectors.stem}", stamp_of(vectors, metadata), None, vectors, metadata))
    if not shards:
        raise InputError("; ".join(left_out) or f"--pretraining {path}: {path / 'img_emb'} holds no .npy file")
    return Source(tuple(shards), tuple(left_out))


def keys_of(metadata: Path) -> list[str]:
    """What clip-retrieval's metadata call each row: `image_path`, else `key`, else `url`, else the row's number."""
    table = parquet(metadata)
    names = table.schema_arrow.names
    column = next((c for c in ("image_path", "key", "url") if c in names), None)
    if column is None:
        return [f"row {i}" for i in range(table.metadata.num_rows)]
    return [str(value) for value in table.read(columns=[column])[column].to_pylist()]
