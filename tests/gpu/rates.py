"""The suite's rates beside those of the bare passes that its work can't do without, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from clip_robustness.conditions.condition import CLEAN, Condition, attack, corruption
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.models.classifier import Classifier
from tests.gpu.models import labelled, loaded, photos
from tests.gpu.rows import Plan, Rate

_PRECISIONS = ("fp32", "tf32", "bf16")
_SMALL, _LARGE = "0.01/255", "8/255"
_ROUNDS = 3


def rates(plan: Plan, device: torch.device, folder: Path) -> Iterator[Rate]:
    precisions = _PRECISIONS if device.type == "cuda" else ("fp32",)
    for precision in precisions:
        for classifier in loaded(plan, device, folder, f"precision={precision}"):
            images = labelled(classifier, photos(classifier.classes, plan.images, folder))
            yield from _of_model(plan, classifier, images, precision)
            del classifier
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _of_model(plan: Plan, classifier: Classifier, images: Dataset, precision: str) -> Iterator[Rate]:
    device, name, count = classifier.mean.device, classifier.name.partition("@")[0], len(images)
    evaluate = Evaluator(None, device=device, batch_size=plan.batch)
    batch = torch.rand(plan.batch, 3, classifier.image_size, classifier.image_size, device=device)

    def forward() -> None:
        with torch.inference_mode():
            classifier(batch)

    def traced() -> None:
        seen = batch.clone().requires_grad_()
        torch.autograd.grad(classifier(seen).sum(), seen)

    def answers(condition: Condition) -> Callable[[], list[dict[str, float]]]:
        def run() -> list[dict[str, float]]:
            blocks = evaluate.answers(classifier, condition, images, None, range(count))
            return [dict(answer.measures) for found, _ in blocks for _, answer, _ in found]

        return run

    for label, condition in (
        ("clean, decoded before", CLEAN),
        ("imagenet-c contrast, made before", corruption("contrast", 3)),
    ):
        run = answers(condition)
        run()  # what follows takes the pixels from memory
        once, bare = _in_turns(device, plan.seconds, run, forward)
        yield Rate(name, precision, label, count / once, plan.batch / bare, 0.9)
    for label, condition in (
        ("BIM, all survive", attack("bim", _SMALL)),
        ("BIM", attack("bim", _LARGE)),
        ("MIM", attack("mim", _LARGE)),
    ):
        run = answers(condition)
        passes = sum(measures["passes"] for measures in run())
        once, both, bare = _in_turns(device, 0, run, traced, forward)
        needed = (passes * bare + (passes - count) * max(both - bare, 0)) / plan.batch
        yield Rate(name, precision, label, count / once, count / needed, 0.85)
    run = answers(attack("nes", _SMALL, pairs=10))
    queries = sum(measures["queries"] for measures in run())
    once, bare = _in_turns(device, 0, run, forward)
    yield Rate(name, precision, "NES, 10 pairs", count / once, count * plan.batch / (queries * bare), 0.95)


def _in_turns(device: torch.device, seconds: float, *works: Callable[[], object]) -> list[float]:
    """Seconds of each, the median of some rounds in which all take turns; of a short work many calls in a row."""
    calls = [1] * len(works)
    for i, work in enumerate(works):
        took = _timed(device, work, 1)
        calls[i] = max(1, min(50, round(max(seconds, 0.02) / max(took, 1e-6))))
    rounds = [[_timed(device, work, n) for work, n in zip(works, calls, strict=True)] for _ in range(_ROUNDS)]
    return np.median(rounds, axis=0).tolist()


def _timed(device: torch.device, work: Callable[[], object], calls: int) -> float:
    """Of a call: by the device's clock; on a CPU of this process alone, as others may use it."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    _wait(device)
    began = clock()
    for _ in range(calls):
        work()
    _wait(device)
    return (clock() - began) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
