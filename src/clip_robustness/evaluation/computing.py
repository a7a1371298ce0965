"""Compute the outcomes of a cell that nobody stored: images are decoded and pass the model, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.context import Answers, Batches, Context
from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.conditions.kept import Kept, memory_limit
from clip_robustness.conditions.kind import load
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.errors import InputError
from clip_robustness.evaluation.file_stamps import FileStamps
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.evaluation.request import EvalRequest
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import Classifier, predict, predictions_of, to_tensor
from clip_robustness.models.device import workers
from clip_robustness.models.memory import Batch, bounded, is_out_of_memory, release
from clip_robustness.models.projected import restrict_logits


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as a model sees it, float (3, side, side) in [0, 1], without and with what a condition does to it, and
    the predictions for both; None where the condition has images of its own."""

    sample: Sample
    clean: Tensor | None
    changed: Tensor
    clean_prediction: int | None
    prediction: int | None


class Computing:
    """Asks models. `faults` are (file, image id) -> why it could not be decoded."""

    def __init__(
        self,
        stamps: FileStamps,
        *,
        device: torch.device,
        seed: int,
        batch_size: int,
        limit_bytes: int | None,
        sharing: int | None,
        textures: Sequence[Texture] | None,
    ) -> None:
        """As `evaluator.Evaluator` has it."""
        self.faults: dict[tuple[Path, str], str] = {}
        self._stamps, self._device, self._seed, self._batch_size = stamps, device, seed, batch_size
        self._kept = Kept(memory_limit() if limit_bytes is None else limit_bytes)
        self._source = PixelSource(seed, self._kept, textures)
        self._sharing = sharing or workers()
        self._batches: dict[tuple[str, str], Batch] = {}
        """(model, name of a condition) -> how many images pass at a time."""

    def pictures(self, asked: EvalRequest) -> Iterator[Picture]:
        """What the model sees of a few images, made anew; nothing of attacks that need all images, that run elsewhere,
        or that take hundreds of passes an image, and of images that can't be decoded.

        Of a sequence the first frame and the next one that is wrong. Attacks are seeded by image and do again what they
        did, but for floating point.
        """
        request = _loaded(asked)
        kind, classifier = asked.condition.kind, request.classifier.loaded
        there = [sample for sample in request.images.samples if sample.id in request.stamps]
        size = self._batch(request).fits
        for batch in self._prepared(request, there, size):
            seen = self._seen(request, batch, size)
            batch = [(sample, pixels) for sample, pixels in batch if sample.id in seen]
            if not batch:
                continue
            changed = torch.stack([seen[sample.id] for sample, _ in batch])
            with torch.inference_mode():  # an eps of the normalised image can lead out of [0, 1]
                predictions = predictions_of(classifier, classifier(changed)).tolist()
            clean: Sequence[Tensor | None] = [None] * len(batch)
            before: Sequence[int | None] = [None] * len(batch)
            if kind.changes:
                clean_of = self._source.clean(classifier)
                as_is = [pixels[0] if kind.is_sequence else clean_of(sample) for sample, pixels in batch]
                originals = to_tensor(np.stack(as_is), self._device)
                clean, before = list(originals), predict(classifier, originals)
            samples = [sample for sample, _ in batch]
            yield from map(Picture, samples, clean, changed.clamp(0, 1), before, predictions)

    def _seen(self, request: EvalRequest, batch: Sequence[tuple[Sample, Pixels]], size: int) -> dict[str, Tensor]:
        """Image id -> what the model sees: float (3, side, side), of a sequence the first frame that is wrong."""
        if request.condition.kind.attack:
            found, pixels_of = dict[str, Tensor](), {sample.id: pixels for sample, pixels in batch}
            for part, own in _by_labels(request, [sample for sample, _ in batch]):
                context = replace(self._context(part, size), pictures=found)  # knows what is crafted already
                for _ in load(request.condition.runner)(context, [[(s, pixels_of[s.id]) for s in own]]):
                    pass
            return found
        seen = {sample.id: to_tensor(pixels, self._device) for sample, pixels in batch}
        if request.condition.kind.is_sequence:
            for sample, _ in batch:
                predictions = predict(request.classifier.loaded, seen[sample.id])
                wrong = (i for i, prediction in enumerate(predictions) if prediction not in sample.accepted)
                seen[sample.id] = seen[sample.id][next(wrong, 0)]
        return seen

    def blocks(
        self, asked: EvalRequest, samples: Sequence[Sample]
    ) -> Iterator[tuple[list[tuple[Sample, Prediction]], str]]:
        """The answers to those that can be decoded, block by block, with what is to be said of each.

        A batch for which the memory does not suffice is tried again at half its size, and so are all that follow.
        Raises `InputError` where it does not suffice for a single image.
        """
        request = _loaded(asked)
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
                    model.loaded,
                    self._batch_size,
                    gradients=request.condition.kind.attack is not None,
                    sharing=self._sharing,
                )
                for model in (request.classifier, request.surrogate)
                if model is not None
            ]
            self._batches[where] = Batch(min(b.wanted for b in each), min(b.fits for b in each))
        return self._batches[where]

    def _answers(self, request: EvalRequest, samples: Sequence[Sample], size: int) -> Iterator[Answers]:
        """The answers to those that can be decoded, block by block; `size` images, or frames, pass at a time."""
        for part, own in _by_labels(request, samples):
            batches = self._prepared(part, own, size)
            yield from load(part.condition.runner)(self._context(part, size), batches)

    def _context(self, request: EvalRequest, size: int) -> Context:
        craft_set: Batches = ()
        if choose := request.condition.kind.craft_set:
            some = [s for s in load(choose)(request.images, self._seed) if s.id in request.stamps]
            craft_set = self._prepared(request, some, size)
        known = request.classifier.loaded, request.condition, self._device, size, self._seed, self._kept
        surrogate = request.surrogate.loaded if request.surrogate else None
        return Context(*known, surrogate=surrogate, craft_set=craft_set)

    def _prepared(
        self, request: EvalRequest, samples: Sequence[Sample], size: int
    ) -> Iterator[list[tuple[Sample, Pixels]]]:
        """Batches of decoded images, without those that can't be, or that are no longer the files of `stamps`; the next
        one is prepared while the model works. What is in memory is there sooner than a thread is."""
        asked = request.condition, request.classifier.loaded
        pixels_of, holds = self._source.of(*asked), self._source.holds(*asked)

        def prepare(sample: Sample) -> tuple[Sample, Pixels] | None:
            try:
                pixels = pixels_of(sample)
                self._stamps.digest(sample, request.stamps[sample.id])
                return (sample, pixels) if sample.stamp == request.stamps[sample.id] else None
            except OSError as error:
                self.faults[sample.path, sample.id] = str(error)
                return None

        count = max(1, size // request.condition.kind.frames)
        blocks = [samples[start : start + count] for start in range(0, len(samples), count)]
        threads = max(2, torch.get_num_threads())
        with ThreadPoolExecutor(threads) as pool:
            pending: Sequence[Callable[[], _Places]] = []
            for block in [*blocks, []]:
                work = partial(_each, prepare, iter(list(enumerate(block))))
                here, count = all(map(holds, block)), min(threads, len(block))
                following = [work] if here else [pool.submit(work).result for _ in range(count)]
                done = sorted((found for result in pending for found in result()), key=itemgetter(0))
                if ready := [pair for _, pair in done if pair is not None]:
                    yield ready
                pending = following


_Places = list[tuple[int, tuple[Sample, Pixels] | None]]


def _each(prepare: Callable[[Sample], tuple[Sample, Pixels] | None], waiting: Iterator[tuple[int, Sample]]) -> _Places:
    """With their places, those that no other thread took."""
    return [(place, prepare(sample)) for place, sample in waiting]


def _loaded(asked: EvalRequest) -> EvalRequest:
    """With models over the classes of the data set, weights and all."""
    space, surrogate = asked.images.space, asked.surrogate.loaded if asked.surrogate else None
    if surrogate is not None and asked.condition.kind.crafted_on == "surrogate":
        surrogate = restrict_logits(surrogate, space)
    return replace(asked, classifier=restrict_logits(asked.classifier.loaded, space), surrogate=surrogate)


def _by_labels(request: EvalRequest, samples: Sequence[Sample]) -> Iterator[tuple[EvalRequest, Sequence[Sample]]]:
    """Images by all their right labels, of which attacks have to lead away: of an attack on images that have several,
    with models for which these are one class."""
    apart: dict[tuple[int, ...], list[Sample]] = {}
    attacked = request.condition.kind.attack is not None
    for sample in samples:
        several = sample.accepted if attacked and sample.also else ()
        apart.setdefault(several, []).append(sample)
    for labels, own in apart.items():
        yield (_as_one(request, labels) if labels else request), own


def _as_one(request: EvalRequest, labels: Sequence[int]) -> EvalRequest:
    """With models that predict the first of some labels for any of them, and never the others, which have no name."""

    def merged(classifier: Classifier) -> Classifier:
        names, (first, *others) = classifier.classes.names, labels
        members: list[tuple[int, ...]] = [() if i in others else (i,) for i in range(len(names))]
        members[first] = tuple(labels)
        keys = tuple("" if i in others else name for i, name in enumerate(names))
        return restrict_logits(classifier, ClassSpace(classifier.classes.name, keys, tuple(members)))

    surrogate = request.surrogate.loaded if request.surrogate else None
    if surrogate is not None and request.condition.kind.crafted_on == "surrogate":
        surrogate = merged(surrogate)
    return replace(request, classifier=merged(request.classifier.loaded), surrogate=surrogate)


def _where(request: EvalRequest) -> tuple[str, str]:
    """What the batch size that fits into memory depends on."""
    return request.classifier.fingerprint, request.condition.name
