"""Evaluate a cell: (model, condition, images) -> per-image outcomes, through the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.context import Answers, Batches, Context
from clip_robustness.conditions.corruptions.frost import read_textures
from clip_robustness.conditions.kept import Kept, memory_limit
from clip_robustness.conditions.kind import Kind, load
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.errors import InputError
from clip_robustness.evaluation.deadline import Deadline
from clip_robustness.evaluation.file_stamps import FileStamps
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.evaluation.progress import Progress
from clip_robustness.evaluation.store import About, Known, Store, block
from clip_robustness.metrics.outcomes import Outcomes, Prediction
from clip_robustness.models.classifier import Classifier, predict, predictions_of, to_tensor
from clip_robustness.models.device import workers
from clip_robustness.models.memory import Batch, bounded, is_out_of_memory, release
from clip_robustness.models.projected import restrict_logits

_READ_AT = 8 / 255


def cell_key(
    classifier: Classifier, condition: Condition, images: Dataset, seed: int, device: str, made_with: str = ""
) -> str:
    """The name under which the outcomes of a cell are stored."""
    of_model = classifier.fingerprint, classifier.code, device
    of_data = images.name, images.space, images.reader, seed, made_with
    parts = (*of_model, condition.computation, code_version(condition), *of_data)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class EvalRequest:
    """A model under a condition on images, as it sees them; `surrogate` is as in `Evaluator`. `cell` is its name in the
    store, `stamps` are those of the image files by id, as they were at first sight; who has none is left out."""

    classifier: Classifier
    condition: Condition
    images: Dataset
    surrogate: Classifier | None
    cell: str
    stamps: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as a model sees it, float (3, side, side) in [0, 1], without and with what a condition does to it, and
    the predictions for both; None where the condition has images of its own."""

    sample: Sample
    clean: Tensor | None
    changed: Tensor
    clean_prediction: int | None
    prediction: int | None


BatchResult = tuple[list[tuple[str, Prediction, str]], str]
"""A batch: ids of images, answers, and digests of the files that were read; and what is to be said of it."""


class Evaluator:
    """Computes what the store does not know yet, in batches, and keeps each batch as soon as it is done."""

    def __init__(
        self,
        store: Store | None,
        *,
        device: torch.device,
        seed: int = 0,
        batch_size: int = 64,
        limit_bytes: int | None = None,
        sharing: int | None = None,
        frost: str | None = None,
        deadline: Deadline | None = None,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        """Without a `store` it only `answers`. `limit_bytes`: of what is kept in memory for later, else a share of it.
        `sharing`: how many processes share this machine, by default the workers of the run. `frost`: the folder of
        textures. After the `deadline` no block is begun. `watch` is told after each block how far a cell is.

        Raises `InputError` where a texture is missing.
        """
        self.device_type = device.type
        """Of what computes: on another one logits are rounded in another way."""
        self._own_store, self._device, self._seed, self._batch_size = store, device, seed, batch_size
        self._deadline, self._told = deadline, watch
        textures = read_textures(Path(frost)) if frost else None
        self._kept = Kept(memory_limit() if limit_bytes is None else limit_bytes)
        self._source = PixelSource(seed, self._kept, textures)
        self._watch = FileStamps()
        self._faults: dict[tuple[Path, str], str] = {}
        """(file, image id) -> why it could not be decoded."""
        self._sharing = sharing or workers()
        self._batches: dict[tuple[str, str], Batch] = {}
        """(model, name of a condition) -> how many images pass at a time."""

    def made_with(self, condition: Condition) -> str:
        """What the pixels of a condition depend on beside images, condition and seed."""
        return self._source.made_with(condition)

    def __call__(
        self, classifier: Classifier, condition: Condition, images: Dataset, surrogate: Classifier | None = None
    ) -> Outcomes:
        """Outcomes for every image, in the order of the samples, in the classes of the data set.

        Attacks by transfer need a `surrogate` over the same classes; so do captions: the model itself over the caption
        and something else. Raises `NotRunError` once the time is up.
        """
        began = time.perf_counter()
        request = self._question(classifier, condition, images, surrogate)
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
                for answers, note in self._blocks(request, missing):
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
            correct=np.array([_is_correct(condition, sample, known[sample.id]) for sample in readable], bool),
            unreadable=tuple(sample.id for sample in unreadable),
            fault=self._faults.get((unreadable[0].path, unreadable[0].id), "") if unreadable else "",
            seconds=time.perf_counter() - began if computed else 0.0,
            measures={name: np.array([a.measures[name] for a in answers_to]) for name in _names(answers_to)},
            rivals=np.array([sample.rival for sample in readable], np.int64),
            notes=tuple(notes),
        )

    def missing(
        self, classifier: Classifier, condition: Condition, images: Dataset, surrogate: Classifier | None = None
    ) -> list[Sample]:
        """Those of the images whose outcome is not stored."""
        known = self._known(self._question(classifier, condition, images, surrogate)).answers
        return [sample for sample in images.samples if sample.id not in known]

    def answers(
        self, classifier: Classifier, condition: Condition, images: Dataset, surrogate: Classifier | None, places: range
    ) -> list[BatchResult]:
        """To the images at these places, whatever is stored; nothing is kept."""
        request = self._question(classifier, condition, images, surrogate)
        samples = images.samples[places.start : places.stop]
        return [
            ([(sample.id, answer, self._digest(request, sample)) for sample, answer in block], note)
            for block, note in self._blocks(request, samples)
        ]

    def keep(
        self,
        classifier: Classifier,
        condition: Condition,
        images: Dataset,
        surrogate: Classifier | None,
        told: BatchResult,
    ) -> None:
        """Store a batch of `answers` from elsewhere. Raises `InputError` where an image has another content there."""
        request = self._question(classifier, condition, images, surrogate)
        by_id = {sample.id: sample for sample in images.samples}
        batch, note = told
        here = [(by_id[id], answer, digest) for id, answer, digest in batch if id in request.stamps]
        if other := [sample for sample, _, digest in here if self._digest(request, sample) != digest]:
            raise InputError(
                f"data set '{images.name}': {other[0].path} has another content on a node; copy the images there anew"
            )
        self._keep(request, [(sample, answer) for sample, answer, _ in here], [digest for *_, digest in here], note)

    def pictures(
        self, classifier: Classifier, condition: Condition, images: Dataset, surrogate: Classifier | None = None
    ) -> Iterator[Picture]:
        """What the model sees of a few images, made anew; nothing of attacks that need all images, that run elsewhere,
        or that take hundreds of passes an image, and of images that can't be decoded.

        Of a sequence the first frame and the next one that is wrong. Attacks are seeded by image and do again what they
        did, but for floating point.
        """
        kind = condition.kind
        if not kind.pictured:
            return
        request = self._question(classifier, condition, images, surrogate)
        there = [sample for sample in images.samples if sample.id in request.stamps]
        size = self._batch(request).fits
        for batch in self._prepared(request, there, size):
            seen = self._seen(request, batch, size)
            batch = [(sample, pixels) for sample, pixels in batch if sample.id in seen]
            if not batch:
                continue
            changed = torch.stack([seen[sample.id] for sample, _ in batch])
            with torch.inference_mode():  # an eps of the normalised image can lead out of [0, 1]
                predictions = predictions_of(request.classifier, request.classifier(changed)).tolist()
            clean: Sequence[Tensor | None] = [None] * len(batch)
            before: Sequence[int | None] = [None] * len(batch)
            if kind.changes:
                clean_of = self._source.clean(request.classifier)
                as_is = [pixels[0] if kind.is_sequence else clean_of(sample) for sample, pixels in batch]
                originals = to_tensor(np.stack(as_is), self._device)
                clean, before = list(originals), predict(request.classifier, originals)
            samples = [sample for sample, _ in batch]
            yield from map(Picture, samples, clean, changed.clamp(0, 1), before, predictions)

    def _seen(self, request: EvalRequest, batch: Sequence[tuple[Sample, Pixels]], size: int) -> dict[str, Tensor]:
        """Image id -> what the model sees: float (3, side, side), of a sequence the first frame that is wrong."""
        if request.condition.kind.attack:
            context = replace(self._context(request, size), pictures={})  # knows what is crafted already
            for _ in load(request.condition.runner)(context, [batch]):
                pass
            return context.pictures or {}
        seen = {sample.id: to_tensor(pixels, self._device) for sample, pixels in batch}
        if request.condition.kind.is_sequence:
            for sample, _ in batch:
                predictions = predict(request.classifier, seen[sample.id])
                wrong = (i for i, prediction in enumerate(predictions) if prediction not in sample.accepted)
                seen[sample.id] = seen[sample.id][next(wrong, 0)]
        return seen

    @property
    def _store(self) -> Store:
        assert self._own_store is not None, "this evaluator only answers"
        return self._own_store

    def _question(
        self, classifier: Classifier, condition: Condition, images: Dataset, surrogate: Classifier | None
    ) -> EvalRequest:
        classifier, stamps = restrict_logits(classifier, images.space), self._watch.stamps(images.samples)
        made_with, kind = [self._source.made_with(condition)], condition.kind
        if surrogate is not None:
            surrogate = restrict_logits(surrogate, images.space) if kind.crafted_on == "surrogate" else surrogate
            made_with.append(f"{surrogate.fingerprint} {surrogate.code}")
        if kind.craft_set:
            some = load(kind.craft_set)(images, self._seed)
            made_with.append(repr([(i.id, self._content(i, stamps), _asked(kind, i)) for i in some]))
        if kind.reads_names:
            made_with.append(repr(classifier.classes.names))
        cell = cell_key(classifier, condition, images, self._seed, self.device_type, " ".join(made_with))
        return EvalRequest(classifier, condition, images, surrogate, cell, stamps)

    def _known(self, request: EvalRequest) -> Known:
        by_id, kind = {sample.id: sample for sample in request.images.samples}, request.condition.kind
        what = {id: _asked(kind, by_id[id]) for id in request.stamps}
        return self._store.known(
            request.cell, request.stamps, lambda id: self._content(by_id[id], request.stamps), what
        )

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

    def _blocks(
        self, request: EvalRequest, samples: Sequence[Sample]
    ) -> Iterator[tuple[list[tuple[Sample, Prediction]], str]]:
        """The answers to those that can be decoded, block by block, with what is to be said of each.

        A batch for which the memory does not suffice is tried again at half its size, and so are all that follow.
        Raises `InputError` where it does not suffice for a single image.
        """
        name, condition = request.classifier.name, request.condition
        done = set[str]()
        while left := [sample for sample in samples if sample.id in request.stamps and sample.id not in done]:
            batch = self._batch(request)
            note = ""
            if batch.fits < batch.wanted:
                note = (
                    f"{name}: {condition.name} was computed {batch.fits} images at a time, {batch.wanted} do not fit "
                    "into memory"
                )
            try:
                for answers in self._answers(request, left, batch.fits):
                    done.update(sample.id for sample, _ in answers)
                    yield answers, note
                return
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if batch.fits == 1:
                    raise InputError(
                        f"{name}: {condition.id} does not fit into memory, not even one image at a time"
                    ) from error
            self._batches[_where(request)] = replace(batch, fits=batch.fits // 2)
            release()

    def _batch(self, request: EvalRequest) -> Batch:
        if (where := _where(request)) not in self._batches:
            each = [
                bounded(
                    model, self._batch_size, gradients=request.condition.kind.attack is not None, sharing=self._sharing
                )
                for model in (request.classifier, request.surrogate)
                if model is not None
            ]
            self._batches[where] = Batch(min(b.wanted for b in each), min(b.fits for b in each))
        return self._batches[where]

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

    def _answers(self, request: EvalRequest, samples: Sequence[Sample], size: int) -> Iterator[Answers]:
        """The answers to those that can be decoded, block by block; `size` images, or frames, pass at a time."""
        condition = request.condition
        batches = self._prepared(request, samples, size)
        yield from load(condition.runner)(self._context(request, size), batches)

    def _context(self, request: EvalRequest, size: int) -> Context:
        craft_set: Batches = ()
        if choose := request.condition.kind.craft_set:
            some = [s for s in load(choose)(request.images, self._seed) if s.id in request.stamps]
            craft_set = self._prepared(request, some, size)
        known = request.classifier, request.condition, self._device, size, self._seed, self._kept
        return Context(*known, surrogate=request.surrogate, craft_set=craft_set)

    def _prepared(
        self, request: EvalRequest, samples: Sequence[Sample], size: int
    ) -> Iterator[list[tuple[Sample, Pixels]]]:
        """Batches of decoded images, without those that can't be, or that are no longer the files of `stamps`; the next
        one is prepared while the model works."""
        pixels_of = self._source.of(request.condition, request.classifier)

        def prepare(sample: Sample) -> tuple[Sample, Pixels] | None:
            try:
                pixels = pixels_of(sample)
                self._digest(request, sample)
                return (sample, pixels) if sample.stamp == request.stamps[sample.id] else None
            except OSError as error:
                self._faults[sample.path, sample.id] = str(error)
                return None

        count = max(1, size // request.condition.kind.frames)
        blocks = [samples[start : start + count] for start in range(0, len(samples), count)]
        with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:
            pending: list[Future[tuple[Sample, Pixels] | None]] = []
            for block in [*blocks, []]:
                following = [pool.submit(prepare, sample) for sample in block]
                if ready := [pair for future in pending if (pair := future.result()) is not None]:
                    yield ready
                pending = following


def _asked(kind: Kind, sample: Sample) -> str:
    """What an outcome depends on of an image beside its file: how it is cut, and, under attack and in sequences, its
    labels. Everywhere else corrected labels need no other prediction."""
    cut = f"{sample.border}{'w' if sample.cropped else ''}"
    if kind.labels_count:
        rival = [f"not {sample.rival}"] if sample.rival >= 0 else []
        return " ".join(map(str, [cut, sample.label, *sorted(sample.also), *rival]))
    return cut


def _where(request: EvalRequest) -> tuple[str, str]:
    """What the batch size that fits into memory depends on."""
    return request.classifier.fingerprint, request.condition.name


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
