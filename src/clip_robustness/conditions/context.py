"""What a runner knows: whom it asks, under which condition, and what it may keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import Classifier, predict, to_tensor
from clip_robustness.models.device import sent

Batch = Sequence[tuple[Sample, Pixels]]
Batches = Iterable[Batch]
Answers = list[tuple[Sample, Prediction]]


@dataclass
class Context:
    """Of a cell. `size` images, or frames, pass a model at a time. `surrogate` is the model that an attack is crafted
    on, `craft_set` the batches that one for all images is. What is made for one model is `kept` for the others."""

    victim: Classifier
    condition: Condition
    device: torch.device
    size: int
    seed: int
    kept: Kept
    surrogate: Classifier | None = None
    craft_set: Batches = ()
    pictures: dict[str, Tensor] | None = None
    """Where there is one, the perturbed images are noted here, by id: of a search the last one that fooled."""

    def rng(self, sample: Sample) -> np.random.Generator:
        """That of the image itself."""
        return image_rng(self.seed, self._random_name, sample.id)

    @cached_property
    def _random_name(self) -> str:
        return self.condition.random_name

    def images(self, batch: Batch) -> Tensor:
        """Float (n, 3, side, side) in [0, 1]."""
        return to_tensor(np.stack([pixels for _, pixels in batch]), self.device)

    def labels(self, samples: Sequence[Sample]) -> Tensor:
        return sent(torch.tensor([sample.label for sample in samples]), self.device)

    def note(self, samples: Sequence[Sample], images: Iterable[Tensor]) -> None:
        if self.pictures is not None:
            self.pictures |= {sample.id: image for sample, image in zip(samples, images, strict=True)}

    def where_correct(self, batch: Batch, attacked: Callable[[list[int], Tensor], list[int]]) -> Answers:
        """Clean predictions where they are wrong; else those of `attacked`, which gets places and images."""
        images = self.images(batch)
        predictions = predict(self.victim, images)
        correct = [i for i, (sample, _) in enumerate(batch) if predictions[i] == sample.label]
        if correct:
            for i, prediction in zip(correct, attacked(correct, images[correct]), strict=True):
                predictions[i] = prediction
        return [(sample, Prediction(prediction)) for (sample, _), prediction in zip(batch, predictions, strict=True)]


def after(
    batch: Batch, clean: Sequence[int], attacked: Sequence[int], measures: Sequence[Mapping[str, float]]
) -> Answers:
    """Of an image that is wrong when clean the clean prediction, of others the one under attack."""
    return [
        (sample, Prediction(a if c == sample.label else c, m))
        for (sample, _), c, a, m in zip(batch, clean, attacked, measures, strict=True)
    ]
