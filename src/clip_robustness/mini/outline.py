"""Drawn sets that are not in the cache yet, as they will lie there, with empty images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clip_robustness import timing
from clip_robustness.datasets import places
from clip_robustness.datasets.dataset import Sample
from clip_robustness.mini.data import files, place_of, write

_EMPTY = (".png", ".JPEG", ".jpg", ".mp4")


@dataclass
class Outline:
    """`images` are those of the set that nobody drew yet; `seconds` is what each that was drawn took."""

    count: int
    images: dict[Path, Callable[[Path], object]]
    seconds: list[float] = field(default_factory=list)

    def draw(self, image: Path) -> None:
        """Where it is one of the set, and still empty."""
        if make := self.images.pop(image, None):
            self.seconds.append(timing.timed(lambda: make(image)).alone)

    def estimate(self) -> float:
        """Seconds that drawing the whole set takes, by the images that were drawn but for the first, which pays for
        what is made once; by two where fewer were."""
        for image in list(self.images)[: max(0, 2 - len(self.seconds))]:
            self.draw(image)
        counted = self.seconds[1:] or self.seconds
        return sum(counted) / len(counted) * self.count


@dataclass
class Outlines:
    """Of the sets that are asked for, below `root`, by their places."""

    root: Path
    of: dict[str, Outline] = field(default_factory=dict)

    def folder(self, place: str) -> str:
        """As `datasets.places.folder`, which would draw a set whole and keep it."""
        kind, _, name = place.partition(":")
        if kind != "mini" or place_of(name).is_dir():
            return places.folder(place)
        folder = self.root / name
        if place not in self.of:
            self.of[place] = _outlined(name, folder)
        return str(folder)

    def draw(self, image: Path) -> None:
        for outline in self.of.values():
            outline.draw(image)

    def drawn(self, samples: Iterable[Sample], seconds: float) -> Iterator[Sample]:
        """The first of the samples, with their images, until that took so long."""
        began = time.perf_counter()
        for sample in samples:
            self.draw(sample.path)
            yield sample
            if time.perf_counter() - began > seconds:
                return


def _outlined(name: str, folder: Path) -> Outline:
    """A set that is only written as a whole is drawn there."""
    listed = files(name)
    if listed is None:
        whole = timing.timed(lambda: write(name, folder)).alone
        count = sum(file.is_file() for file in folder.rglob("*"))
        return Outline(count, {}, [whole / count])
    images = {}
    for inside, make in listed:
        file = folder / inside
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in _EMPTY:
            file.touch()
            images[file] = make
        else:
            make(file)
    return Outline(len(images), images)
