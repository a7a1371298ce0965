"""Evaluate a cell: (model, condition, images) -> per-image outcomes, through the store.

Light to import: torch, and the models that are asked, are loaded where something is not stored.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.kind import Kind, load
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.errors import InputError
from clip_robustness.evaluation.deadline import Deadline
from clip_robustness.evaluation.file_stamps import FileStamps
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.progress import Progress
from clip_robustness.evaluation.request import EvalRequest
from clip_robustness.evaluation.store import About, Known, Store, block
from clip_robustness.metrics.outcomes import Outcomes, Prediction

if TYPE_CHECKING:
    import torch

    from clip_robustness.conditions.corruptions.frost import Texture
    from clip_robustness.evaluation.computing import Computing, Picture
    from clip_robustness.evaluation.request import AnyModel

_READ_AT = 8 / 255


def cell_key(
    classifier: AnyModel, condition: Condition, images: Dataset, seed: int, device: str, made_with: str = ""
) -> str:
    """The name under which the outcomes of a cell are stored."""
    of_model = classifier.fingerprint, classifier.code, device
    of_data = images.name, images.space, images.reader, seed, made_with
    parts = (*of_model, condition.computation, code_version(condition), *of_data)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


BatchResult = tuple[list[tuple[str, Prediction, str]], str]
"""A batch: ids of images, answers, and digests of the files that were read; and what is to be said of it."""


class Evaluator:
    """Computes what the store does not know yet, in batches, and keeps each batch as soon as it is done."""

    def __init__(
        self,
        store: Store | None,
        *,
        device: torch.device | str,
        seed: int = 0,
        batch_size: int = 64,
        limit_bytes: int | None = None,
        sharing: int | None = None,
        frost: str | None = None,
        verify: bool = False,
        deadline: Deadline | None = None,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        """Without a `store` it only `answers`. `limit_bytes`: of what is kept in memory for later, else a share of it.
        `sharing`: how many processes share this machine, by default the workers of the run. `frost`: the folder of
        textures. With `verify` a stored outcome counts by the content of its image file alone, not by the file's stamp.
        After the `deadline` no block is begun. `watch` is told after each block how far a cell is.

        Raises `InputError` where a texture is missing.
        """
        self.device_type = str(device).partition(":")[0]
        """Of what computes: on another one logits are rounded in another way."""
        self._own_store, self._device, self._seed, self._batch_size = store, device, seed, batch_size
        self._limit_bytes, self._sharing = limit_bytes, sharing
        self._verify, self._deadline, self._told = verify, deadline, watch
        self._textures = _textures(frost)
        self._watch = FileStamps()

    @cached_property
    def _computing(self) -> Computing:
        import torch

        from clip_robustness.evaluation.computing import Computing

        return Computing(
            self._watch,
            device=torch.device(self._device),
            seed=self._seed,
            batch_size=self._batch_size,
            limit_bytes=self._limit_bytes,
            sharing=self._sharing,
            textures=self._textures,
        )

    def made_with(self, condition: Condition) -> str:
        """What the pixels of a condition depend on beside images, condition and seed."""
        if condition.file:
            try:
                return hashlib.sha256(condition.given_file.read_bytes()).hexdigest()[:16]
            except OSError as error:
                raise InputError(f"{condition.path}: {condition.file} can't be read: {error.strerror}") from None
        found = condition.registered
        if found is None or self._textures is None or not found.options.get("textures"):
            return found.version if found else ""
        digest = hashlib.sha256()
        for texture in self._textures:
            digest.update(texture.pixels.tobytes())
        return digest.hexdigest()[:16]

    def __call__(
        self, classifier: AnyModel, condition: Condition, images: Dataset, surrogate: AnyModel | None = None
    ) -> Outcomes:
        """Outcomes for every image, in the order of the samples, in the classes of the data set.

        Attacks by transfer need a `surrogate` over the same classes; so do captions: the model itself over the caption
        and something else. Raises `NotRunError` once the time is up.
        """
        began = time.perf_counter()
        request = self.request(classifier, condition, images, surrogate)
        stored = self._known(request)
        known, notes, computed = stored.answers, list(stored.notes), False
        lacking = stored.damaged > 0 or len(known) < len(images)
        if lacking:
            with self._store.claimed(request.cell):
                stored = self._known(request)  # somebody may have computed it in the meantime
                known = stored.answers
                notes = list(stored.notes)
                if stored.damaged:
                    notes += self._store.mend(request.cell)
                missing = [sample for sample in images.samples if sample.id not in known]
                right = sum(
                    _is_correct(condition, sample, known[sample.id]) for sample in images.samples if sample.id in known
                )
                self._check_time(known, images)
                for answers, note in self._computing.blocks(request, missing):
                    computed = True
                    known.update((sample.id, answer) for sample, answer in answers)
                    digests = [self._digest(request, sample) for sample, _ in answers]
                    notes += [n for n in (note, self._keep(request, answers, digests, note)) if n and n not in notes]
                    if self._told:
                        right += sum(_is_correct(condition, sample, answer) for sample, answer in answers)
                        done = len(known), len(images), right, len(known) - len(images) + len(missing)
                        self._told(Progress(classifier.name, condition.id, *done, time.perf_counter() - began))
                    self._check_time(known, images)
        if lacking and (changed := self._watch.changed(images.samples)):
            notes.append(
                f"data set '{images.name}': {len(changed)} images were replaced or removed during the run (first: "
                f"{changed[0]}) and are left out; run again for figures of one state of the data"
            )
        # Unreadable is not kept: the next run may find the file mended, mounted or permitted.
        readable = [sample for sample in images.samples if sample.id in known]
        unreadable = [sample for sample in images.samples if sample.id not in known]
        answers_to = [_read_at(condition, sample, known[sample.id]) for sample in readable]
        predictions = np.array([answer.prediction for answer in answers_to], np.int64)
        return Outcomes(
            ids=tuple(sample.id for sample in readable),
            labels=np.array([sample.label for sample in readable], np.int64),
            predictions=predictions,
            correct=np.array([a.prediction in s.accepted for s, a in zip(readable, answers_to, strict=True)], bool),
            unreadable=tuple(sample.id for sample in unreadable),
            fault=self._computing.faults.get((unreadable[0].path, unreadable[0].id), "") if unreadable else "",
            seconds=time.perf_counter() - began if computed else 0.0,
            measures={name: np.array([a.measures[name] for a in answers_to]) for name in _names(answers_to)},
            rivals=np.array([sample.rival for sample in readable], np.int64),
            notes=tuple(notes),
        )

    def missing(
        self, classifier: AnyModel, condition: Condition, images: Dataset, surrogate: AnyModel | None = None
    ) -> list[Sample]:
        """Those of the images whose outcome is not stored."""
        known = self._known(self.request(classifier, condition, images, surrogate)).answers
        return [sample for sample in images.samples if sample.id not in known]

    def answers(
        self, classifier: AnyModel, condition: Condition, images: Dataset, surrogate: AnyModel | None, places: range
    ) -> list[BatchResult]:
        """To the images at these places, whatever is stored; nothing is kept."""
        samples = images.samples[places.start : places.stop]
        if not condition.kind.craft_set:  # which is chosen among all
            images = replace(images, samples=samples, anchors=())
        request = self.request(classifier, condition, images, surrogate)
        return [
            ([(sample.id, answer, self._digest(request, sample)) for sample, answer in block], note)
            for block, note in self._computing.blocks(request, samples)
        ]

    def keep(self, request: EvalRequest, told: BatchResult) -> None:
        """Store a batch of `answers` from elsewhere. Raises `InputError` where an image has another content there."""
        (batch, note), name = told, request.images.name
        here = [(request.by_id[id], answer, digest) for id, answer, digest in batch if id in request.stamps]
        if other := [sample for sample, _, digest in here if self._digest(request, sample) != digest]:
            raise InputError(
                f"data set '{name}': {other[0].path} has another content on a node; copy the images there anew"
            )
        self._keep(request, [(sample, answer) for sample, answer, _ in here], [digest for *_, digest in here], note)

    def pictures(
        self, classifier: AnyModel, condition: Condition, images: Dataset, surrogate: AnyModel | None = None
    ) -> Iterator[Picture]:
        """As `Computing.pictures`."""
        if condition.kind.pictured:
            yield from self._computing.pictures(self.request(classifier, condition, images, surrogate))

    @property
    def _store(self) -> Store:
        assert self._own_store is not None, "this evaluator only answers"
        return self._own_store

    def request(
        self, classifier: AnyModel, condition: Condition, images: Dataset, surrogate: AnyModel | None = None
    ) -> EvalRequest:
        """The question, with the name of its cell and the stamps of its files: for many images it takes a while."""
        stamps, kind = self._watch.stamps(images.samples), condition.kind
        made_with = [self.made_with(condition)]
        if surrogate is not None:
            made_with.append(f"{surrogate.fingerprint} {surrogate.code}")
        if kind.craft_set:
            some = load(kind.craft_set)(images, self._seed)
            made_with.append(repr([(i.id, self._content(i, stamps), _asked(kind, i)) for i in some]))
        if kind.reads_names:
            own = images.space is None or images.space.is_all_of(classifier.classes)
            made_with.append(repr(classifier.classes.names if own or not images.space else images.space.keys))
        cell = cell_key(classifier, condition, images, self._seed, self.device_type, " ".join(made_with))
        return EvalRequest(classifier, condition, images, surrogate, cell, stamps)

    def _known(self, request: EvalRequest) -> Known:
        by_id, kind = request.by_id, request.condition.kind
        what = {id: _asked(kind, by_id[id]) for id in request.stamps}
        stamps = dict.fromkeys(request.stamps, "") if self._verify else request.stamps
        return self._store.known(request.cell, stamps, lambda id: self._content(by_id[id], request.stamps), what)

    def _content(self, sample: Sample, stamps: Mapping[str, str]) -> str:
        """The digest of an image's file, '' where it can't be read."""
        with suppress(OSError, KeyError):
            return self._watch.digest(sample, stamps[sample.id])
        return ""

    def _digest(self, request: EvalRequest, sample: Sample) -> str:
        return self._watch.digest(sample, request.stamps[sample.id])

    def _check_time(self, known: Mapping[str, Prediction], images: Dataset) -> None:
        if self._deadline and len(known) < len(images):
            self._deadline.check(len(known), len(images))

    def _keep(
        self, request: EvalRequest, answers: Sequence[tuple[Sample, Prediction]], digests: Sequence[str], note: str
    ) -> str:
        """Store a block; where that fails the figures are as good, and what is lost is said."""
        if not answers:
            return ""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        data = request.images.name
        condition, code = request.condition, f"{code_version(request.condition)}-{request.classifier.code}"
        about = About(
            request.classifier.name, condition.path, data, self._seed, code, now, note, condition.name, condition.params
        )
        kind = condition.kind
        given = {
            sample.id: (request.stamps[sample.id], digest, _asked(kind, sample))
            for (sample, _), digest in zip(answers, digests, strict=True)
        }
        try:
            self._store.add(request.cell, block(about, answers, given))
        except OSError as error:
            return f"outcomes could not be stored, another run computes them anew: {error.strerror or error}"
        return ""


def _textures(frost: str | None) -> Sequence[Texture] | None:
    if frost is None:
        return None
    from clip_robustness.conditions.corruptions.frost import read_textures

    return read_textures(Path(frost))


def _asked(kind: Kind, sample: Sample) -> str:
    """What an outcome depends on of an image beside its file: how it is cut, and, under attack and in sequences, its
    labels. Everywhere else corrected labels need no other prediction."""
    cut = f"{sample.border}{'w' if sample.cropped else ''}"
    if kind.labels_count:
        rival = [f"not {sample.rival}"] if sample.rival >= 0 else []
        return " ".join(map(str, [cut, sample.label, *sorted(sample.also), *rival]))
    return cut


def _read_at(condition: Condition, sample: Sample, answer: Prediction) -> Prediction:
    """Of an image's smallest eps, what is predicted at the eps of the condition; a search is read at 8/255."""
    smallest = answer.measures.get("smallest_eps")
    if smallest is None or smallest <= (condition.eps or _READ_AT):
        return answer
    return Prediction(sample.label, answer.measures)


def _is_correct(condition: Condition, sample: Sample, answer: Prediction) -> bool:
    return _read_at(condition, sample, answer).prediction in sample.accepted


def _names(answers: Sequence[Prediction]) -> Sequence[str]:
    return list(answers[0].measures) if answers else []
