"""Whether a device does what a CPU does: outcomes, precisions, memory, determinism, two processes on it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clip_robustness import models, suites
from clip_robustness.conditions.condition import CLEAN, SEARCH, Condition, attack
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.errors import NotRunError
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.needs import needs
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.spec import parse
from tests import ROOT
from tests.gpu.models import labelled, loaded, photos
from tests.gpu.rows import Check, Plan

_OTHERS = 0.05
"""Of the predictions of a cell may differ by rounding, which attacks amplify; and one more."""
_NEAR = {"tf32": 0.02, "bf16": 0.1, "fp16": 0.03}
"""Logits may differ by so much of their spread."""


def checks(plan: Plan, device: torch.device, folder: Path) -> Iterator[Check]:
    yield _placement(device)
    yield from _as_on_a_cpu(plan, device, folder)
    for classifier in loaded(replace(plan, models=plan.models[:1]), device, folder):
        images = labelled(classifier, photos(classifier.classes, min(plan.images, 64), folder))
        yield from _precisions(plan, classifier, images, device, folder)
        yield _out_of_memory(plan, classifier, images, folder)
        yield from _deterministic(plan, classifier, images, device)
    yield _two_processes(plan, device, folder)


def _placement(device: torch.device) -> Check:
    classifier = models.load("mini:clip", class_list("mini"), device)
    places = {str(value.device.type) for value in classifier.state_dict().values()}
    return Check("weights are on the device", places == {device.type}, ", ".join(sorted(places)))


def session_on(device: str, folder: Path, samples: int, batch: int) -> Session:
    """The default gate's models and data, with few images, and a store of its own."""
    suite = suites.load("mini")
    models = [parse(text) for text in (*suite.settings.candidate, *suite.settings.supervised)]
    run = folder / f"{device.replace(':', '-')}-{batch}" / "reports" / "run"
    run.mkdir(parents=True, exist_ok=True)
    return Session(Settings(suite, (models[0],), tuple(models[1:]), models[-1], samples, 0, device, batch, run, False))


def _as_on_a_cpu(plan: Plan, device: torch.device, folder: Path) -> Iterator[Check]:
    """Every condition of the default gate; on a CPU in other batches instead."""
    samples = min(plan.images, 24)
    here, there = session_on(str(device), folder, samples, plan.batch), session_on("cpu", folder, samples, 5)
    suite, (candidate,) = here.settings.suite, here.settings.candidates
    asked = list(needs(here.settings, [Cell(candidate, condition) for condition in suite.conditions]))
    by_name = {condition.name: condition for condition in asked}
    chosen = asked if plan.cells is None else list(by_name.values())[: plan.cells]
    differing, compared = list[str](), 0
    for condition in chosen:
        try:
            ours, theirs = here.outcomes(candidate, condition), there.outcomes(candidate, condition)
        except NotRunError:
            continue
        compared += 1
        other = int((ours.predictions != theirs.predictions).sum())
        if other > 1 + _OTHERS * len(ours.ids):
            differing.append(f"{condition.id}: {other} of {len(ours.ids)}")
    yield Check(
        "the default gate's conditions as on a CPU", not differing and compared > 0,
        "; ".join(differing) or f"{compared} conditions: predictions equal but for 1 image + {_OTHERS:.0%}",
    )  # fmt: skip


def _answers(
    evaluate: Evaluator, classifier: Classifier, condition: Condition, images: Dataset
) -> dict[str, Prediction]:
    blocks = evaluate.answers(classifier, condition, images, None, range(len(images)))
    return {id: answer for found, _ in blocks for id, answer, _ in found}


def _by_id(evaluate: Evaluator, classifier: Classifier, condition: Condition, images: Dataset) -> dict[str, int]:
    return {id: answer.prediction for id, answer in _answers(evaluate, classifier, condition, images).items()}


def _precisions(plan: Plan, exact: Classifier, images: Dataset, device: torch.device, folder: Path) -> Iterator[Check]:
    side = exact.image_size
    batch = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        expected = exact(batch)
    spread = float(expected.std())
    few, evaluate = replace(images, samples=images.samples[:16]), Evaluator(None, device=device, batch_size=plan.batch)
    searched = _answers(evaluate, exact, attack("bim", SEARCH), few).values()
    middle = float(np.median([answer.measures["smallest_eps"] for answer in searched]))
    condition = attack("bim", f"{255 * middle:.3g}/255")  # half of the images survive
    outcomes = _by_id(evaluate, exact, condition, few)
    for name in ("tf32", "bf16", "fp16") if device.type == "cuda" else ("bf16",):
        for other in loaded(replace(plan, models=plan.models[:1]), device, folder, f"precision={name}"):
            if other.name.partition("?")[0] != exact.name.partition("?")[0]:
                continue
            with torch.inference_mode():
                away = float((other(batch) - expected).abs().max()) / spread
            yield Check(f"{name}: logits", away < _NEAR[name], f"{away:.1%} of their spread away, at most")
            found = _by_id(evaluate, other, condition, few)
            labels = {sample.id: sample.label for sample in few.samples}
            survived = [sum(made[id] == labels[id] for id in made) for made in (outcomes, found)]
            yield Check(
                f"{name}: robust accuracy under BIM, judged in fp32", abs(survived[0] - survived[1]) <= 1,
                f"{survived[0]} and {survived[1]} of {len(labels)} images survive {condition.id}",
            )  # fmt: skip


class _Full(torch.nn.Module):
    """Has memory for `most` images alone."""

    def __init__(self, inner: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.inner(images)


def _out_of_memory(plan: Plan, classifier: Classifier, images: Dataset, folder: Path) -> Check:
    few = replace(images, samples=images.samples[: plan.batch])
    net, most = classifier.net, max(1, plan.batch // 4)
    classifier.net = _Full(net, most)
    try:
        store = Store(folder / "full")
        outcomes = Evaluator(store, device=classifier.mean.device, batch_size=plan.batch)(classifier, CLEAN, few)
    finally:
        classifier.net = net
    said = [note for note in outcomes.notes if "do not fit into memory" in note]
    return Check("out of memory: halved and told", len(outcomes.ids) == len(few) and bool(said), "; ".join(said))


def _deterministic(plan: Plan, classifier: Classifier, images: Dataset, device: torch.device) -> Iterator[Check]:
    condition, before = attack("bim", "2/255"), torch.backends.cudnn.deterministic
    few = replace(images, samples=images.samples[:32])
    took, found = {}, []
    try:
        for kernels in (False, True):
            torch.backends.cudnn.deterministic = kernels
            for size in (plan.batch, plan.batch, max(1, plan.batch // 3)):
                evaluate = Evaluator(None, device=device, batch_size=size)
                began = time.perf_counter()
                outcomes = _by_id(evaluate, classifier, condition, few)
                took[kernels] = time.perf_counter() - began
                if kernels:
                    found.append(outcomes)
    finally:
        torch.backends.cudnn.deterministic = before
    first, again, smaller = found
    differ = sum(first[id] != smaller[id] for id in first)
    cost = f"deterministic kernels take {took[True] / took[False]:.2f} times as long"
    yield Check("two runs are equal", first == again, cost)
    yield Check("another batch size: equal but for one image", differ <= 1, f"{differ} of {len(first)} differ")


def _two_processes(plan: Plan, device: torch.device, folder: Path) -> Check:
    name = "two workers on one card"
    if device.type != "cuda":
        return Check(name, None, "there is no card")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n", "2", "-k", "contrast or fgsm"]
    reports = folder / "two" / "reports" / "run"
    options = ["--samples=24", f"--device={device}", f"--report-dir={reports}"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    made = (reports / "results.json").is_file() and done.returncode in (0, 1)
    return Check(name, made, done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:])
