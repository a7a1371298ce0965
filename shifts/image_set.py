"""Labelled image sets on disk: which files, under which stable ids, with which labels."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from models.classes import ClassList
from models.errors import InputError, nearest


@dataclass(frozen=True)
class Item:
    """One image. `id` is its path inside the data set, stable across machines; `label` indexes the class list."""

    id: str
    path: Path
    label: int

    @property
    def stamp(self) -> str:
        """Changes when the file does, without reading it: size and time of modification."""
        status = self.path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


@dataclass(frozen=True)
class ImageSet:
    """A labelled image set, items in the order of their ids."""

    name: str
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)


def read_folder(name: str, folder: Path, classes: ClassList) -> ImageSet:
    """An image set with one folder a class, called by the class's key (wnid) or by its index in the class list.

    Folders named by number are read by number: '10' is class 10, not the one after '1'. Not every class needs a folder.
    Raises `InputError` for a missing or empty folder and for folders of unknown classes.
    """
    if not folder.is_dir():
        raise InputError(f"data set '{name}': there is no folder {folder}; correct '{name}' under [data] in the suite")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise InputError(f"data set '{name}': {folder} has no class folders; one folder a class is expected")
    if all(n.isdecimal() for n in names):
        by_number = {str(i): i for i in range(len(classes))}
        labels = {n: by_number.get(str(int(n))) for n in names}
    else:
        index = {key: i for i, key in enumerate(classes.keys)}
        labels = {n: index.get(n) for n in names}
    unknown = [n for n, label in labels.items() if label is None]
    if unknown:
        raise InputError(
            f"data set '{name}': {folder / unknown[0]} is not a class of '{classes.name}' "
            f"({len(unknown)} of {len(names)} folders are not); {nearest(unknown[0], classes.keys)}"
        )
    found = make_dataset(str(folder), labels, IMG_EXTENSIONS, allow_empty=True)
    if not found:
        raise InputError(f"data set '{name}': {folder} contains no images ({', '.join(IMG_EXTENSIONS)})")
    items = [Item(Path(path).relative_to(folder).as_posix(), Path(path), label) for path, label in found]
    return ImageSet(name, tuple(sorted(items, key=lambda item: item.id)))


def sample(images: ImageSet, count: int | None, seed: int) -> ImageSet:
    """A class-balanced subset of `count` images: the same for every model, and stable when other images come or go.

    Within each class images are ordered by a hash of seed and id; classes take turns. A smaller sample is part of a
    larger one. `None` takes all.
    """
    if count is None or count >= len(images):
        return images
    by_class: dict[int, list[tuple[str, Item]]] = defaultdict(list)
    for item in images.items:
        by_class[item.label].append((hashlib.sha256(f"{seed} {item.id}".encode()).hexdigest(), item))
    turns = []
    for members in by_class.values():
        for turn, (key, item) in enumerate(sorted(members, key=lambda member: member[0])):
            turns.append((turn, key, item))
    chosen = [item for _, _, item in sorted(turns, key=lambda t: t[:2])[:count]]
    return ImageSet(images.name, tuple(sorted(chosen, key=lambda item: item.id)))


def image_rng(seed: int, purpose: str, image_id: str) -> np.random.Generator:
    """The random generator of one image for one purpose: independent of batches, workers and order."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{image_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def read_image(path: Path) -> Image.Image:
    """Decode a file completely. Raises `OSError` for one that is truncated, empty, not an image or absurdly large."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises besides OSError
        raise OSError(f"{path}: {error}") from error
