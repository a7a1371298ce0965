"""What results and stored outcomes need of a model, remembered from run to run: a run whose outcomes are all stored
reads no weights. Light to import.

A record counts as long as each file that its model was made of has the same path, size, inode and both times, and none
is younger than a minute: a clock may be coarse, and a file may be written in place. Its key covers the spec, the
classes, our code, the libraries and where the files are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from clip_robustness import registry
from clip_robustness.cache import CacheError, cache_folder, keep
from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models import embedded
from clip_robustness.models.registry import builder_of, code_version
from clip_robustness.models.spec import ModelSpec

if TYPE_CHECKING:
    from clip_robustness.models.classifier import Classifier

_YOUNG = 60.0
"""Seconds."""
_BESIDE = ("args.yaml", "params.txt", "../params.txt")
"""What training scripts leave beside a checkpoint, which says how it is built."""
_SHARDS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Facts:
    """`mean` and `std` are of pixels in [0, 1]; `flags` as in `models.flags`, None where nobody asked yet. The others
    are as in `Classifier`."""

    fingerprint: str
    weights: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop: str
    prompts: str
    precision: str
    warnings: tuple[str, ...]
    flags: Mapping[str, float] | None = None


@dataclass(eq=False)
class Model:
    """A model of a run over `classes`; itself, with its weights, is `loaded` when images are to pass."""

    name: str
    code: str
    classes: ClassList
    facts: Facts
    load: Callable[[], Classifier]

    @property
    def fingerprint(self) -> str:
        return self.facts.fingerprint

    @cached_property
    def loaded(self) -> Classifier:
        """Raises `InputError` where its files were replaced since the run began."""
        classifier = self.load()
        if classifier.fingerprint != self.fingerprint:
            raise InputError(f"model spec '{self.name}': its files changed during the run; run again")
        return classifier


Stamps = dict[str, tuple[int, int, int, int] | None]
"""Path -> size, inode, times of modification and of change; None where there is no such file."""


@dataclass(frozen=True)
class _Kept:
    files: Stamps
    facts: Facts


_KEPT = TypeAdapter(_Kept)


class Record:
    """Of a model over a list of classes, on a kind of device. `files` are those that it is made of, None where its spec
    does not tell them, as with weights on a hub or a factory of the user's: then nothing is remembered."""

    def __init__(self, spec: ModelSpec, classes: ClassList, device_type: str) -> None:
        self._files = files_of(spec, classes)
        self._before = self._stamps()
        places = sorted(self._before)  # two checkouts have embedded weights each
        parts = (str(spec), spec, classes, device_type, code_version(builder_of(spec)), places)
        self._name = f"models/{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.json"

    def read(self) -> Facts | None:
        """None where there is none that counts."""
        if self._files is None or any(_is_young(stamp) for stamp in self._before.values()):
            return None
        try:
            found = _KEPT.validate_json((cache_folder() / self._name).read_bytes())
        except (OSError, CacheError, ValueError):
            return None
        return found.facts if found.files == self._before else None

    def write(self, facts: Facts) -> None:
        """Does nothing where a file changed while the model was read; nor where nothing can be kept, which costs time
        alone."""
        if self._files is None or self._stamps() != self._before:
            return
        keep(self._name, _KEPT.dump_json(_Kept(self._before, facts)))

    def _stamps(self) -> Stamps:
        return {str(file.absolute()): _stamp(file) for file in self._files or ()}


def files_of(spec: ModelSpec, classes: ClassList) -> tuple[Path, ...] | None:
    """All files that the spec names, and those beside a checkpoint that are read with it, there or not."""
    options = [spec.options.prompts, spec.options.class_names, spec.options.config, classes.prompts]
    named = [Path(value) for value in options if value and Path(value).is_file()]
    if spec.kind == "mini":
        own = embedded.inner(spec)
        assert own.file is not None
        return (own.file, embedded.FOLDER / f"{own.name}.json", *named)
    if spec.kind == "python" or registry.find("model", spec.kind).version:
        return None
    if spec.folder:
        return (*sorted(file for file in spec.folder.rglob("*") if file.is_file()), *named)
    if spec.file is None:
        return None
    beside = [spec.file.parent / name for name in _BESIDE]
    if spec.file.suffix == ".json":
        beside += sorted(file for file in spec.file.parent.iterdir() if file.suffix in _SHARDS)
    return (spec.file, *beside, *named)


def _stamp(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _is_young(stamp: Sequence[int] | None) -> bool:
    return stamp is not None and time.time() - max(stamp[2:]) / 1e9 < _YOUNG


def facts_of(classifier: Classifier, warnings: Sequence[str]) -> Facts:
    """Of a loaded model."""
    mean, std = (
        tuple(round(value, 6) for value in colour.flatten().tolist()) for colour in (classifier.mean, classifier.std)
    )
    size, precision = classifier.image_size, classifier.precision
    words = classifier.interpolation, classifier.crop, classifier.prompts, precision
    return Facts(classifier.fingerprint, classifier.weights, size, mean, std, *words, warnings=tuple(warnings))
