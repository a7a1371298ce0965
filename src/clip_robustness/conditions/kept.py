"""Arrays that are kept in memory for what follows, in one budget."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from numpy.typing import NDArray
from torchvision.transforms import CenterCrop, Compose, Resize

from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets.dataset import Sample
from clip_robustness.models.classifier import Geometry
from clip_robustness.models.device import workers
from clip_robustness.models.loading import ToRGB

_SHARE_OF_MEMORY = 1 / 8
_TELL_ALL = (Resize, CenterCrop, ToRGB)
"""Steps whose repr has everything that they do."""


def memory_limit() -> int:
    """Bytes that this process may fill with what it keeps."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _SHARE_OF_MEMORY / workers())


@dataclass
class Kept:
    """Clean pixels, and what was made of them under the condition that is computed: changed pixels, perturbations.

    What is made costs more and is needed sooner, by the next model: clean pixels make room for it, the oldest first. It
    is dropped with its condition. Nothing gives way to its like: a set of images that does not fit would be made anew
    as a whole each time. Threads may ask.
    """

    limit_bytes: int
    _clean: dict[Hashable, NDArray[Any]] = field(default_factory=dict)
    _made: dict[Hashable, NDArray[Any]] = field(default_factory=dict)
    _condition: Condition | None = None
    _used: int = 0
    _lock: Lock = field(default_factory=Lock)

    def begin(self, condition: Condition) -> None:
        """What was made under another condition is not needed any more."""
        with self._lock:
            if condition != self._condition:
                self._used -= sum(array.nbytes for array in self._made.values())
                self._made, self._condition = {}, condition

    def get(self, key: Hashable) -> NDArray[Any] | None:
        with self._lock:
            return self._made.get(key, self._clean.get(key))

    def put(self, key: Hashable, array: NDArray[Any], *, clean: bool = False) -> None:
        with self._lock:
            while not clean and self._clean and self._used + array.nbytes > self.limit_bytes >= array.nbytes:
                self._used -= self._clean.pop(next(iter(self._clean))).nbytes
            kept = self._clean if clean else self._made
            if key not in kept and self._used + array.nbytes <= self.limit_bytes:
                kept[key] = array
                self._used += array.nbytes


class _Step:
    """A function or object that is equal to itself alone. It is held, so that no other can get its address."""

    def __init__(self, step: object) -> None:
        self._step = step

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Step) and other._step is self._step

    def __hash__(self) -> int:
        return id(self._step)


def geometry_key(geometry: Geometry) -> Hashable:
    """Equal for geometries that are known to do the same. A repr may leave out what makes the difference: that of all
    lambdas of torchvision is 'Lambda()'."""
    if isinstance(geometry, Compose):
        return tuple(geometry_key(step) for step in geometry.transforms)
    return repr(geometry) if type(geometry) in _TELL_ALL else _Step(geometry)


def pixels_key(sample: Sample) -> tuple[Hashable, ...]:
    """What the pixels of an image depend on, beside the geometry."""
    return (sample.place, sample.stamp, sample.id, sample.border, sample.cropped)
