"""What lies in a folder of images: the files that are read, and those that are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import features

from clip_robustness.errors import InputError

IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    *((".avif",) if features.check("avif") else ()),
)
"""Endings of what `image_set.read_image` decodes."""
_OF_SYSTEMS = ("__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "lost+found")
"""What desktops and file servers leave behind, small copies of the images among it."""


@dataclass(frozen=True)
class Listing:
    """Paths below a folder, with '/', in their order: `files` have one of the endings, `others` have none of them."""

    files: tuple[str, ...]
    others: tuple[str, ...]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is nothing that its owner put there: `.ipynb_checkpoints`, `._1.jpg`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def list_files(folder: Path, endings: tuple[str, ...] = IMAGES) -> Listing:
    """All files at any depth that are not hidden, in one pass; links are followed.

    Raises `InputError` for a folder that can't be opened, a link that leads back to a folder that it is in, and a name
    that is not UTF-8.
    """
    files: list[str] = []
    others: list[str] = []
    left: list[tuple[str, tuple[Path, ...]]] = [("", (folder.resolve(),))]
    while left:
        prefix, above = left.pop()
        try:
            entries = list(os.scandir(folder / prefix))
        except OSError as error:
            raise InputError(f"{folder / prefix} can't be opened: {error.strerror}") from None
        for entry in entries:
            name = entry.name
            if is_hidden(name):
                continue
            if not entry.is_dir():
                (files if name.lower().endswith(endings) else others).append(prefix + name)
                continue
            real = above[-1] / name
            if entry.is_symlink():
                real = real.resolve()
                if any(one.is_relative_to(real) for one in above):
                    raise InputError(f"the link {entry.path} leads back to a folder that it is in; remove it")
            left.append((f"{prefix}{name}/", (*above, real)))
    for path in files:
        if not path.isascii() and path.encode(errors="replace").decode() != path:
            raise InputError(f"{folder}: the name {os.fsencode(path)!r} is not UTF-8; rename it")
    return Listing(tuple(sorted(files)), tuple(sorted(others)))


def by_ending(files: Sequence[str]) -> str:
    """'60 files are not read (.heic 40, .txt 20)'."""
    counts = Counter(PurePosixPath(file).suffix.lower() or "without ending" for file in files)
    listed = ", ".join(f"{ending} {count}" for ending, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    listed = listed.encode(errors="backslashreplace").decode()
    return f"{len(files)} files are not read ({listed})" if len(files) > 1 else f"1 file is not read ({listed})"
