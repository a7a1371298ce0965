"""Labelled image sets on disk: which files, under which stable ids, with which labels."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.depth import eight_bits
from clip_robustness.datasets.label_space import ClassSpace, own_space
from clip_robustness.datasets.labels import naming, understood
from clip_robustness.datasets.layouts import hint
from clip_robustness.datasets.listing import IMAGES, by_ending, is_hidden, list_files
from clip_robustness.datasets.vocabulary import is_number
from clip_robustness.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class _Fields:
    id: str
    path: Path
    label: int
    also: tuple[int, ...] = ()
    border: int = 0
    cropped: bool = False
    rival: int = -1
    clusters: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    content: Callable[[], bytes] | None = field(default=None, compare=False)


class Sample(_Fields):
    """One image. `id` is its path inside the data set, stable across machines; `label` indexes the class list.

    `path` is the file that holds it: the image itself, or what `content` takes the bytes of an image file from. Any
    label of `also` counts as right, too. `border` pixels are cut off on each side before anything else is done.
    `cropped` files are what models shall see, whole: they are resized at most. `rival` is the class that the image
    pretends to show, -1: none. `clusters` are what it shares with others, one name for each way of belonging together:
    its video, or the pictures that its texture and its shape are from. `groups` are what accuracies are told apart by.

    Of a path that ends in the id the folder alone is kept, once for all images: a process may list millions.
    """

    __slots__ = ("_held",)
    _held: str | Path

    @property
    def path(self) -> Path:
        return Path(self._text) if isinstance(self._held, str) else self._held

    @path.setter
    def path(self, path: Path) -> None:
        """As what `dataclass` makes sets it, after the id."""
        text, end = str(path), f"/{self.id}"
        object.__setattr__(self, "_held", sys.intern(text[: -len(end)]) if text.endswith(end) else Path(path))

    @property
    def _text(self) -> str:
        return f"{self._held}/{self.id}" if isinstance(self._held, str) else str(self._held)

    @property
    def place(self) -> tuple[str, str]:
        """The path as two texts that are there already."""
        return (self._held, self.id) if isinstance(self._held, str) else (str(self._held), "")

    @property
    def accepted(self) -> tuple[int, ...]:
        """All labels that count as right."""
        return (self.label, *self.also)

    @property
    def stamp(self) -> str:
        """Changes when the file does, without reading it: size and time of modification."""
        status = os.stat(self._text)  # noqa: PTH116 - a path would take longer to make than to look at
        return f"{status.st_size}-{status.st_mtime_ns}"

    def image(self) -> Image.Image:
        """Decoded completely, without its border. Raises `OSError` where that can't be done."""
        if self.content:
            image = read_image(io.BytesIO(self.content()), f"{self.path}, {self.id}")
        else:
            image = read_image(self.path)
        if not self.border:
            return image
        width, height = image.size
        return image.crop((self.border, self.border, width - self.border, height - self.border))


@dataclass(frozen=True)
class Anchor:
    """A frame of a video whose neighbours must be right, too: `near` are their ids and distances in frames."""

    id: str
    near: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Dataset:
    """A labelled image set, samples in the order of their ids.

    Labels are those of `space`, without one the model's. With `anchors` the samples are frames, and what counts is an
    anchor with its neighbours. `warnings` are sentences on what was left out or is not as published. `reader` is the
    version of what reads it, where that is not ours. `classes` are names of its own, which labels are places in, and
    which zero-shot models alone can be asked for.
    """

    name: str
    samples: tuple[Sample, ...]
    space: ClassSpace | None = None
    anchors: tuple[Anchor, ...] = ()
    warnings: tuple[str, ...] = ()
    reader: str = ""
    classes: ClassList | None = None

    @property
    def items(self) -> tuple[Sample, ...]:
        """The samples, by the name that scripts written for `load_dataset` before the rename read."""
        return self.samples

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def counted(self) -> int:
        """How many outcomes count: images, or anchors of videos."""
        return len(self.anchors) or len(self.samples)


def read_folder(
    name: str, folder: Path, classes: ClassList, space: ClassSpace | None = None, endings: tuple[str, ...] = IMAGES
) -> Dataset:
    """An image set with one folder a class of `space`, or of the models: called by its key (wnid), by a name of it, or
    by its number.

    Folders named by number are read by number: '10' is class 10, not the one after '1'. Not every class needs a folder.
    Hidden files are no images; other files that are not read are counted. Raises `InputError` for a missing or empty
    folder, for folders of unknown classes and for links that lead in a circle.
    """
    check_folder(name, folder)
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))
    called = naming(name, space or own_space(classes), classes)

    def are_classes(names: list[str]) -> bool:
        if all(map(is_number, names)) and "0" not in names:  # severities, among others
            return False
        with suppress(InputError):
            found = understood("", names, called)
            return bool(found.label_of) and 2 * len(found.faults) < len(names)
        return False

    if not names:
        expected = f"data set '{name}': {folder} has no class folders; one folder a class is expected"
        raise InputError(expected + hint(name, folder, are_classes))
    meaning = understood(f"data set '{name}': {folder}", names, called)
    if unknown := sorted(map(str, meaning.faults)):
        reason = f"it is {why}" if (why := meaning.faults[unknown[0]]) else nearest(unknown[0], (space or classes).keys)
        deeper = "" if meaning.label_of else hint(name, folder, are_classes)
        raise InputError(
            f"data set '{name}': {folder / unknown[0]} is not a class of '{(space or classes).name}' "
            f"({len(unknown)} of {len(names)} folders are not)" + (deeper or f"; {reason}")
        )
    labels = {n: meaning.label_of[n] for n in names if n in meaning.label_of}
    if not labels:
        raise InputError(f"data set '{name}': {folder} has no folder of a class of '{classes.name}'")
    warnings = list(meaning.warnings)
    try:
        found = list_files(folder, endings)
    except InputError as error:
        raise InputError(f"data set '{name}': {error}") from None
    inside = [(file, labels.get(file.partition("/")[0])) for file in found.files]
    samples = [Sample(file, folder / file, label) for file, label in inside if label is not None]
    if meaning.others:
        count = sum(file.partition("/")[0] in meaning.others for file in found.files)
        warnings.append(
            f"data set '{name}': {count} images in {len(meaning.others)} of {len(names)} folders in {folder} are of "
            f"classes that '{classes.name}' does not have, and are left out"
        )
    if others := [file for file in found.others if file.partition("/")[0] in labels]:
        warnings.append(f"data set '{name}': {by_ending(others)}")
    if beside := [file for file in found.files if "/" not in file]:
        warnings.append(
            f"data set '{name}': {len(beside)} images beside the class folders are not read (first: {beside[0]})"
        )
    if not samples:
        none = f"data set '{name}': {folder} contains no images ({', '.join(endings)})"
        raise InputError("; ".join([none, *warnings]))
    return Dataset(name, tuple(samples), space, warnings=tuple(warnings))


def check_folder(name: str, folder: Path) -> None:
    """Raise `InputError` where there is none."""
    if not folder.is_dir():
        raise InputError(f"data set '{name}': there is no folder {folder}; correct '{name}' under [data] in the suite")


def subsample(images: Dataset, count: int | None, seed: int) -> Dataset:
    """A class-balanced subset of `count` images: the same for every model, and stable when other images come or go.

    Within each class images are ordered by a hash of seed and id; classes take turns. A smaller sample is part of a
    larger one. `None` takes all. Of a video set anchors are sampled, and come with their neighbours.
    """
    anchors = {anchor.id: anchor for anchor in images.anchors}
    candidates = [sample for sample in images.samples if sample.id in anchors or not anchors]
    if count is None or count >= len(candidates):
        return images
    by_class: dict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for sample in candidates:
        by_class[sample.label].append((hashlib.sha256(f"{seed} {sample.id}".encode()).hexdigest(), sample))
    turns = []
    for members in by_class.values():
        for turn, (key, sample) in enumerate(sorted(members, key=lambda member: member[0])):
            turns.append((turn, key, sample))
    chosen = {sample.id for _, _, sample in sorted(turns, key=lambda t: t[:2])[:count]}
    kept = tuple(anchor for anchor in images.anchors if anchor.id in chosen)
    chosen.update(frame for anchor in kept for frame, _ in anchor.near)
    samples = sorted((sample for sample in images.samples if sample.id in chosen), key=lambda sample: sample.id)
    return replace(images, samples=tuple(samples), anchors=kept)


def without(images: Dataset, ids: frozenset[str]) -> Dataset:
    """Without the images of these ids; an anchor goes with any of its frames."""
    kept = tuple(a for a in images.anchors if not ids & {a.id, *(frame for frame, _ in a.near)})
    needed = {frame for anchor in kept for frame in (anchor.id, *(near for near, _ in anchor.near))}
    samples = tuple(i for i in images.samples if i.id not in ids and (i.id in needed or not images.anchors))
    return replace(images, samples=samples, anchors=kept)


def image_rng(seed: int, purpose: str, image_id: str) -> np.random.Generator:
    """The random generator of one image for one purpose: independent of batches, workers and order."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{image_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF", *(("AVIF",) if features.check("avif") else ()))
"""What images of data sets are, whatever their names end in. Pillow would hand others to programs, PostScript to
Ghostscript."""
_NARROWEST = 500
"""Times as long as wide: with the short side at 512 px it would have more pixels than Pillow opens."""


def read_image(file: Path | BinaryIO, called: str = "") -> Image.Image:
    """Decode a file completely, of several frames the first, to 8 bits a sample; EXIF's rotation is not applied.

    Raises `OSError`, which calls the file so, for one that is truncated, empty, not an image, absurdly large or
    narrow, and for one whose samples can't be scaled.
    """
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if max(image.size) > _NARROWEST * min(image.size):
                raise ValueError(f"{image.width} x {image.height} px: too narrow to be resized")
            deep = ";16" in str(image.tile)
            image.load()
            return eight_bits(image, deep)
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise OSError(f"{called or file}: not an image that Pillow reads as {', '.join(_FORMATS)}") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file: struct.error, KeyError, its own
        raise OSError(f"{called or file}: {error}") from error
