"""Attacked cells: from a condition and decoded images to answers, through the attacks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_robustness.conditions.attacks import torchattacks, transfer, typographic
from clip_robustness.conditions.attacks.apgd import APGD_CE, APGD_T
from clip_robustness.conditions.attacks.autoattack import STANDARD
from clip_robustness.conditions.attacks.deepfool import DeepFool
from clip_robustness.conditions.attacks.fab import FAB_T
from clip_robustness.conditions.attacks.gradient import BIM, FGSM, MIM, PGD, TOWARDS_FIRST
from clip_robustness.conditions.attacks.loop import Attacked, Method, Task, run_in_order
from clip_robustness.conditions.attacks.promises import perturbed_by
from clip_robustness.conditions.attacks.score import NES, SPSA, Estimated
from clip_robustness.conditions.attacks.smallest_eps import smallest_eps
from clip_robustness.conditions.attacks.square import SQUARE
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.conditions.attacks.universal import universal
from clip_robustness.conditions.condition import TYPOGRAPHIC, UNIVERSAL, Condition
from clip_robustness.conditions.registry import Registered
from clip_robustness.datasets.dataset import Dataset, Sample, image_rng, subsample
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.errors import InputError
from clip_robustness.evaluation.kept import Kept, geometry_key
from clip_robustness.evaluation.pixels import pixels_key, to_tensor
from clip_robustness.metrics.outcomes import NEVER, Prediction
from clip_robustness.models.classifier import Classifier, predict, predictions_of

Prepared = Iterable[list[tuple[Sample, Pixels]]]
Answers = list[tuple[Sample, Prediction]]

_METHODS: dict[str, tuple[Method, ...]] = {
    "fgsm": (FGSM,),
    "bim": (BIM,),
    "mim": (MIM,),
    "deepfool": (DeepFool(),),
    "nes": (NES,),
    "spsa": (SPSA,),
    "pgd": (PGD,),
    "apgd-ce": (APGD_CE,),
    "apgd-t": (APGD_T,),
    "fab": (FAB_T,),
    "square": (SQUARE,),
    "autoattack": STANDARD,
}
"""One after the other, each on what the ones before it left standing."""
_SEARCH_STEPS = 20
"""Of the score-based attacks in a search."""
_CRAFTED_ON = 256
"""Images at most, of each half, for a universal perturbation."""
_PAPERS_RANGE = (-1.8, 2.15)
"""Of normalised pixels, which the paper's code clamps to."""


@dataclass
class AttackRunner:
    """Runs an attack on images `size` at a time. Crafted perturbations are `kept` for the other victims that see the
    same pixels."""

    device: torch.device
    size: int
    seed: int
    kept: Kept
    seen: dict[str, Tensor] | None = None
    """Where there is one, the perturbed images are noted here, by id: of a search the last one that fooled."""

    def answers(
        self,
        victim: Classifier,
        condition: Condition,
        batches: Prepared,
        surrogate: Classifier | None,
        craft_set: Prepared,
    ) -> Iterator[Answers]:
        """Answers in blocks. The prediction for an image that is wrong when clean is the clean one.

        `surrogate` is the model that attacks by transfer are crafted on, or, for a caption, the victim's view of it.
        `craft_set` are the batches that a universal perturbation is crafted on.

        A search, and DeepFool, gives the prediction at the smallest eps that it found, and `smallest_eps` itself: 0
        for an image that is wrong when clean, `NEVER` for one that was not fooled.

        Whatever the victim's precision, under attack its predictions are those in float32.
        """
        if condition.name == TYPOGRAPHIC:
            return (self._typed(victim, batch) for batch in batches if batch)
        if condition.name == UNIVERSAL:
            moves = cache(lambda: self._universal(victim, condition, craft_set))  # not crafted where nothing is missing
            return (self._moved(victim, batch, moves()) for batch in batches if batch)
        if condition.caption:
            assert surrogate is not None
            return (self._captioned(victim, condition, batch, surrogate) for batch in batches if batch)
        if plugin := condition.registered:
            return (self._by_plugin(victim, condition, batch, plugin) for batch in batches if batch)
        if condition.of_peer:
            return (self._by_peer(victim, condition, batch) for batch in batches if batch)
        if condition.on_surrogate:
            assert surrogate is not None
            if condition.eps is not None:
                return (self._transferred(victim, condition, batch, surrogate) for batch in batches if batch)
            exact = victim.in_fp32()
            return (self._searched_by_transfer(exact, condition, batch, surrogate) for batch in batches if batch)
        if condition.name != "deepfool" and condition.eps is None:
            return (self._searched(victim.in_fp32(), condition, batch) for batch in batches if batch)
        return self._streamed(victim, condition, batches)

    def _streamed(self, victim: Classifier, condition: Condition, batches: Prepared) -> Iterator[Answers]:
        """One attack over all images; the batches flow into each other."""
        minimal, waiting = condition.name == "deepfool", dict[str, Sample]()
        exact, methods = victim.in_fp32(), self._methods(condition)
        eps, bounds = (1.0, (0.0, 1.0)) if minimal else _ball(victim, condition)

        def tasks() -> Iterator[Task]:
            for batch in batches:
                for sample, pixels in batch:
                    waiting[sample.id] = sample
                    yield Task(sample.id, self._tensor(pixels), sample.label, eps, self._rng(condition, sample))

        def answered(block: Sequence[Attacked]) -> Answers:
            predictions, perturbed = [done.prediction for done in block], [done.image for done in block]
            if condition.rounded:
                perturbed = [_rounded(done) for done in block]
                predictions = predict(exact, torch.stack(perturbed))
            self._note([waiting[str(done.task.key)] for done in block], perturbed)
            found = []
            for done, prediction in zip(block, predictions, strict=True):
                measures = {"passes": float(done.passes), "zero_gradient": float(done.zero_gradient)}
                if minimal:
                    measures["smallest_eps"] = _size(done) if done.fooled else NEVER
                if SQUARE in methods[1:]:
                    measures["square_alone"] = float(done.fooled and done.method is SQUARE)
                found.append((waiting.pop(str(done.task.key)), Prediction(prediction, measures)))
            return found

        # a lower precision finds larger perturbations than are needed
        attacked = in_turn(exact if minimal else victim, methods, tasks(), size=self.size, bounds=bounds)
        while block := list(islice(attacked, self.size)):
            yield answered(block)

    def _searched(self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]]) -> Answers:
        images = self._images(batch)
        (method,) = self._methods(condition)
        if isinstance(method, Estimated):
            method = replace(method, count=_SEARCH_STEPS)
        best = _Best(len(batch))

        def trial(chosen: NDArray[np.int64], eps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
            tasks = [
                Task(place, images[i], batch[i][0].label, float(e), self._rng(condition, batch[i][0]))
                for place, (i, e) in enumerate(zip(chosen.tolist(), eps, strict=True))
            ]
            done = run_in_order(victim, method, tasks, size=self.size)
            fooled = np.array([d.fooled for d in done])
            lost = fooled.nonzero()[0]
            self._note([batch[chosen[i]][0] for i in lost], [done[i].image for i in lost])
            best.note(chosen, [d.prediction for d in done], fooled, [d.passes for d in done])
            return fooled, np.array([_size(d) for d in done])

        return best.answers(batch, smallest_eps(trial, len(batch)))

    def _typed(self, victim: Classifier, batch: Sequence[tuple[Sample, Pixels]]) -> Answers:
        """`word`: whether the prediction is what is written."""
        names, written, words = victim.classes.names, [], []
        for sample, pixels in batch:
            rng = image_rng(self.seed, TYPOGRAPHIC, sample.id)
            words.append(typographic.wrong_word(names, sample.label, rng))
            written.append(typographic.typed(pixels, names[words[-1]], rng))
        typed = self._tensor(np.stack(written))
        self._note([sample for sample, _ in batch], typed)
        clean, attacked = predict(victim, self._images(batch)), predict(victim.in_fp32(), typed)
        return _after(batch, clean, attacked, [{"word": float(a == w)} for a, w in zip(attacked, words, strict=True)])

    def _captioned(
        self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]], surrogate: Classifier
    ) -> Answers:
        """All images are moved to the caption; measured is whether it fits better than any class, before and after."""
        assert condition.eps is not None
        victim, surrogate = victim.in_fp32(), surrogate.in_fp32()
        images = self._images(batch)
        tasks = [Task(i, image, 0, condition.eps) for i, image in enumerate(images)]
        done = run_in_order(surrogate, TOWARDS_FIRST, tasks, size=self.size, stop_early=False)
        moved = torch.stack([d.image for d in done])
        self._note([sample for sample, _ in batch], moved)

        @torch.inference_mode()
        def seen(images: Tensor) -> tuple[list[int], list[bool]]:
            logits = victim.logits(images)
            fits: list[bool] = (surrogate.logits(images)[:, 0] > logits.amax(1)).tolist()
            return predictions_of(victim, logits).tolist(), fits

        (clean, before), (attacked, after) = seen(images), seen(moved)
        fits = [{"caption": float(a), "caption_when_clean": float(b)} for a, b in zip(after, before, strict=True)]
        return _after(batch, clean, attacked, fits)

    def _universal(self, victim: Classifier, condition: Condition, batches: Prepared) -> list[Tensor]:
        """The perturbation that each half of the images was moved by.

        Each is crafted on the other half: none is tested by what it helped to find.
        """
        halves: tuple[list[tuple[Sample, Pixels]], ...] = ([], [])
        for sample, pixels in chain.from_iterable(batches):
            halves[_half(sample)].append((sample, pixels))
        if not all(halves):
            raise InputError(f"{condition.id}: needs more images, one half to craft on and the other to attack")
        assert condition.eps is not None
        return [
            universal(
                victim.in_fp32(),
                self._images(halves[other]),
                torch.tensor([sample.label for sample, _ in halves[other]], device=self.device),
                condition.eps,
                image_rng(self.seed, UNIVERSAL, str(other)),
                self.size,
            )
            for other in (1, 0)
        ]

    def _moved(self, victim: Classifier, batch: Sequence[tuple[Sample, Pixels]], moves: Sequence[Tensor]) -> Answers:
        def attacked(right: list[int], images: Tensor) -> list[int]:
            perturbed = (images + torch.stack([moves[_half(batch[i][0])] for i in right])).clamp(0, 1)
            return predict(victim.in_fp32(), perturbed)

        return self._where_right(victim, batch, attacked)

    def _transferred(
        self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]], surrogate: Classifier
    ) -> Answers:
        def attacked(right: list[int], images: Tensor) -> list[int]:
            samples = [batch[i][0] for i in right]
            perturbed = self._perturbed(condition, surrogate, samples, images, geometry_key(victim.geometry))
            self._note(samples, perturbed)
            return predict(victim.in_fp32(), perturbed)

        return self._where_right(victim, batch, attacked)

    def _by_peer(self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]]) -> Answers:
        def attacked(right: list[int], images: Tensor) -> list[int]:
            labels = torch.tensor([batch[i][0].label for i in right], device=self.device)
            seed = int(self._rng(condition, batch[0][0]).integers(2**31))
            return torchattacks.attacked(victim.in_fp32(), condition.name, images, labels, condition.eps, seed).tolist()

        return self._where_right(victim, batch, attacked)

    def _by_plugin(
        self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]], plugin: Registered
    ) -> Answers:
        def attacked(right: list[int], images: Tensor) -> list[int]:
            samples = [batch[i][0] for i in right]
            labels = torch.tensor([sample.label for sample in samples], device=self.device)
            assert condition.eps is not None
            rngs = [self._rng(condition, sample) for sample in samples]
            perturbed = perturbed_by(plugin, victim.in_fp32(), images, labels, condition.eps, rngs)
            self._note(samples, perturbed)
            return predict(victim.in_fp32(), perturbed)

        return self._where_right(victim, batch, attacked)

    def _where_right(
        self,
        victim: Classifier,
        batch: Sequence[tuple[Sample, Pixels]],
        attacked: Callable[[list[int], Tensor], list[int]],
    ) -> Answers:
        """Clean predictions where they are wrong; else those of `attacked`, which gets places and images."""
        images = self._images(batch)
        predictions = predict(victim, images)
        right = [i for i, (sample, _) in enumerate(batch) if predictions[i] == sample.label]
        if right:
            for i, prediction in zip(right, attacked(right, images[right]), strict=True):
                predictions[i] = prediction
        return [(sample, Prediction(prediction)) for (sample, _), prediction in zip(batch, predictions, strict=True)]

    def _perturbed(
        self, condition: Condition, surrogate: Classifier, samples: Sequence[Sample], images: Tensor, geometry: Hashable
    ) -> Tensor:
        """Images with the perturbations that are known, and others that are crafted now."""
        eps = condition.eps
        assert eps is not None
        of = condition, surrogate.fingerprint, surrogate.classes.keys, self.seed, geometry, images.shape[-1]
        keys = [(*pixels_key(sample), sample.label, *of) for sample in samples]
        changes = [self.kept.get(key) for key in keys]
        if missing := [i for i, change in enumerate(changes) if change is None]:
            chosen = [samples[i] for i in missing]
            crafted = self._craft(condition, surrogate, chosen, images[missing], [eps] * len(missing))
            made = (crafted - images[missing]).cpu().numpy().astype(np.float16)
            for i, change in zip(missing, made, strict=True):
                changes[i] = change = change.copy()  # not a view of the whole batch
                self.kept.put(keys[i], change)
        moved = torch.from_numpy(np.stack([change for change in changes if change is not None])).float().to(self.device)
        return (images + moved.clamp(-eps, eps)).clamp(0, 1)

    def _searched_by_transfer(
        self, victim: Classifier, condition: Condition, batch: Sequence[tuple[Sample, Pixels]], surrogate: Classifier
    ) -> Answers:
        images = self._images(batch)
        clean = predict(victim, images)
        labels = np.array([sample.label for sample, _ in batch])
        right = np.array(clean) == labels
        best = _Best(len(batch))
        best.note(np.arange(len(batch)), clean, ~right, [1] * len(batch))

        def trial(chosen: NDArray[np.int64], eps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
            samples = [batch[i][0] for i in chosen]
            crafted = self._craft(condition, surrogate, samples, images[chosen], eps.tolist())
            predictions = predict(victim, crafted)
            fooled = np.array(predictions) != labels[chosen]
            lost = fooled.nonzero()[0]
            self._note([samples[i] for i in lost], crafted[lost])
            best.note(chosen, predictions, fooled, [1] * len(chosen))
            return fooled, np.where(right[chosen], eps, 0)

        return best.answers(batch, np.where(right, smallest_eps(trial, len(batch)), 0))

    def _craft(
        self,
        condition: Condition,
        surrogate: Classifier,
        samples: Sequence[Sample],
        images: Tensor,
        eps: Sequence[float],
    ) -> Tensor:
        labels, rngs = [sample.label for sample in samples], [self._rng(condition, sample) for sample in samples]
        return transfer.craft(surrogate, condition.on_surrogate, images, labels, eps, rngs)

    def _note(self, samples: Sequence[Sample], images: Iterable[Tensor]) -> None:
        if self.seen is not None:
            self.seen |= {sample.id: image for sample, image in zip(samples, images, strict=True)}

    def _methods(self, condition: Condition) -> Sequence[Method]:
        return [
            replace(method, pairs=condition.pairs, queries=self.size) if isinstance(method, Estimated) else method
            for method in _METHODS[condition.name]
        ]

    def _rng(self, condition: Condition, sample: Sample) -> np.random.Generator:
        return image_rng(self.seed, condition.name, sample.id)

    def _tensor(self, pixels: Pixels) -> Tensor:
        return to_tensor(pixels, self.device)

    def _images(self, batch: Sequence[tuple[Sample, Pixels]]) -> Tensor:
        return self._tensor(np.stack([pixels for _, pixels in batch]))


def crafted_on(images: Dataset, seed: int) -> list[Sample]:
    """What a universal perturbation is crafted on: of each half so many images, class by class."""
    halves = (replace(images, samples=tuple(i for i in images.samples if _half(i) == half)) for half in (0, 1))
    return [sample for half in halves for sample in subsample(half, _CRAFTED_ON, seed).samples]


def _half(sample: Sample) -> int:
    return int(image_rng(0, UNIVERSAL, sample.id).integers(2))


def _after(
    batch: Sequence[tuple[Sample, Pixels]],
    clean: Sequence[int],
    attacked: Sequence[int],
    measures: Sequence[Mapping[str, float]],
) -> Answers:
    """Of an image that is wrong when clean the clean prediction, of others the one under attack."""
    return [
        (sample, Prediction(a if c == sample.label else c, m))
        for (sample, _), c, a, m in zip(batch, clean, attacked, measures, strict=True)
    ]


class _Best:
    """What a search has seen of each image: the prediction when it was last fooled, and all forward passes."""

    def __init__(self, count: int) -> None:
        self._predictions, self._passes = [-1] * count, [0] * count

    def note(
        self, chosen: NDArray[np.int64], predictions: Sequence[int], fooled: NDArray[np.bool_], passes: Sequence[int]
    ) -> None:
        for i, prediction, lost, count in zip(chosen.tolist(), predictions, fooled, passes, strict=True):
            self._passes[i] += count
            if lost:
                self._predictions[i] = prediction

    def answers(self, batch: Sequence[tuple[Sample, Pixels]], smallest: NDArray[np.float64]) -> Answers:
        return [
            (sample, Prediction(prediction, {"smallest_eps": float(eps), "passes": float(passes)}))
            for (sample, _), prediction, passes, eps in zip(
                batch, self._predictions, self._passes, smallest, strict=True
            )
        ]


def _rounded(done: Attacked) -> Tensor:
    """The perturbed image in 256 levels, rounded towards the clean image where it would leave the ball."""
    levels = 255 * done.image
    outside = (levels.round() / 255 - done.task.image).abs() > torch.as_tensor(done.task.eps).to(levels) + 1e-6
    inwards = torch.where(done.image > done.task.image, levels.floor(), levels.ceil())
    return torch.where(outside, inwards, levels.round()).clamp(0, 255) / 255


def _size(done: Attacked) -> float:
    return float((done.image - done.task.image).abs().max())


def _ball(
    victim: Classifier, condition: Condition
) -> tuple[float | Tensor, tuple[float, float] | tuple[Tensor, Tensor]]:
    """Radius and range, in pixel units; in those of the normalised image where the condition says so."""
    eps = condition.eps
    assert eps is not None
    if not condition.normalized:
        return eps, (0.0, 1.0)
    mean, std = victim.mean.flatten(0, 1), victim.std.flatten(0, 1)
    low, high = (limit * std + mean for limit in _PAPERS_RANGE)
    return eps * std, (low, high)
