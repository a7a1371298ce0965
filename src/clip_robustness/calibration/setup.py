"""A set-up as far as a single change alters it, and what a model gets right with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_robustness import models
from clip_robustness.conditions.condition import FROST, Condition
from clip_robustness.conditions.corruptions.frost import read_textures
from clip_robustness.conditions.kept import Kept, memory_limit
from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.evaluation.session import Session, clusters_of
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.video import over_anchors
from clip_robustness.models.classifier import Classifier, Geometry, predictions_of, to_tensor
from clip_robustness.models.memory import bounded
from clip_robustness.models.precision import computing_in
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.zero_shot import ZeroShot

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Setup:
    """What a figure is made with; None leaves it to the model, or to the data set.

    `classes` are what prompts call the classes; `geometry`, `mean` and `std` take the place of the model's own;
    `pixels` is done to what the geometry gives, uint8 RGB (side, side, 3); `whole`: images are what models shall see,
    resized at most; `labels` gives the images other labels or classes.
    """

    spec: ModelSpec
    classes: ClassList
    geometry: Geometry | None = None
    mean: Colour | None = None
    std: Colour | None = None
    pixels: Callable[[Pixels], Pixels] | None = None
    whole: bool | None = None
    labels: Callable[[Dataset], Dataset] | None = None

    @property
    def _head_aside(self) -> Setup:
        """The same for all set-ups whose image embeddings are the same."""
        options = replace(self.spec.options, prompts=None, class_names=None)
        spec = replace(self.spec, text="", written="", given=(), options=options)
        return replace(self, spec=spec, classes=ClassList("", (), ()), labels=None)


class Bench:
    """Evaluates one model in changed set-ups, on the images of a session. Its image embeddings are computed once where
    only texts, classes or labels change."""

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session = session
        self.start = Setup(spec, session.models.classes)
        frost = session.settings.suite.source(FROST)
        self._source = PixelSource(
            session.settings.seed, Kept(memory_limit()), read_textures(Path(frost)) if frost else None
        )
        self._loaded = {self.start: session.classifier(spec)}
        self._embedded: dict[Condition, tuple[Tensor, tuple[int, ...]]] = {}

    @property
    def classifier(self) -> Classifier:
        return self._loaded[self.start]

    def images(self, condition: Condition) -> Dataset:
        return self._session.images(condition)

    @torch.inference_mode()
    def outcomes(self, setup: Setup, condition: Condition) -> Outcomes:
        """Per image, in the classes of the data set; images that can't be decoded are left out."""
        images = self.images(condition)
        logits, readable = self._logits(setup, condition)
        if setup.labels:
            images = setup.labels(images)
        scores = images.space.project(logits) if images.space else logits
        predictions = predictions_of(self.classifier, scores).cpu().numpy()
        samples = [images.samples[i] for i in readable]
        outcomes = Outcomes(
            ids=tuple(sample.id for sample in samples),
            labels=np.array([sample.label for sample in samples], np.int64),
            predictions=predictions,
            correct=np.array([p in s.accepted for p, s in zip(predictions, samples, strict=True)], bool),
        )
        outcomes = over_anchors(outcomes, images.anchors) if images.anchors else outcomes
        return replace(outcomes, clusters=clusters_of(outcomes.ids, images))

    def _logits(self, setup: Setup, condition: Condition) -> tuple[Tensor, tuple[int, ...]]:
        """In the classes of the model, and which images they are of."""
        model, own = self._model(setup), self.classifier
        same_images = setup._head_aside == self.start._head_aside
        if same_images and condition not in self._embedded:
            self._embedded[condition] = self._embeddings(own, self.start, condition)
        found, readable = self._embedded[condition] if same_images else self._embeddings(model, setup, condition)
        return (model.net.scores(found) if isinstance(model.net, ZeroShot) else found), readable

    def _model(self, setup: Setup) -> Classifier:
        """The last one that was loaded beside the first stays: a set-up is evaluated under several conditions."""
        key = Setup(setup.spec, setup.classes)
        if key not in self._loaded:
            self._loaded = {
                self.start: self.classifier,
                key: models.load(setup.spec, setup.classes, self._session.device),
            }
        return self._loaded[key]

    def _embeddings(self, model: Classifier, setup: Setup, condition: Condition) -> tuple[Tensor, tuple[int, ...]]:
        """Embeddings of a zero-shot model, logits of others, float (n, width)."""
        seen = copy.copy(model)
        seen.geometry = setup.geometry or model.geometry
        pixels_of = self._source.of(condition, seen)
        samples = self.images(condition).samples
        if setup.whole is not None:
            samples = tuple(replace(sample, cropped=setup.whole) for sample in samples)
        device = model.mean.device
        mean = model.mean if setup.mean is None else torch.tensor(setup.mean, device=device).view(1, 3, 1, 1)
        std = model.std if setup.std is None else torch.tensor(setup.std, device=device).view(1, 3, 1, 1)
        found, readable = list[Tensor](), list[int]()
        size = bounded(model, self._session.settings.batch_size, gradients=False, sharing=1).fits
        for places, pixels in _decoded(samples, pixels_of, size):
            if setup.pixels:
                pixels = [setup.pixels(each) for each in pixels]
            images = (to_tensor(np.stack(pixels), device) - mean) / std
            with computing_in(model.precision, device):
                values = model.net.embed(images) if isinstance(model.net, ZeroShot) else model.net(images)
            found.append(values.float())
            readable += places
        return torch.cat(found), tuple(readable)


def _decoded(
    samples: Sequence[Sample], pixels_of: Callable[[Sample], Pixels], size: int
) -> Iterator[tuple[list[int], list[Pixels]]]:
    def read(sample: Sample) -> Pixels | None:
        try:
            return pixels_of(sample)
        except OSError:
            return None

    with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:
        for start in range(0, len(samples), size):
            block = list(pool.map(read, samples[start : start + size]))
            pairs = [(start + i, pixels) for i, pixels in enumerate(block) if pixels is not None]
            if pairs:
                yield [i for i, _ in pairs], [pixels for _, pixels in pairs]
