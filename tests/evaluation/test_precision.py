"""Attacks in every precision, on a model with OpenAI's logit scale of 100: its losses are far below what half precision
can tell from zero."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip_robustness import models
from clip_robustness.conditions.attacks import transfer
from clip_robustness.conditions.attacks.apgd import APGD
from clip_robustness.conditions.attacks.deepfool import DeepFool
from clip_robustness.conditions.attacks.fab import FAB
from clip_robustness.conditions.attacks.gradient import BIM, FGSM, MIM, PGD
from clip_robustness.conditions.attacks.loop import Task, run
from clip_robustness.conditions.attacks.losses import ascent, cross_entropy
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.conditions.condition import attack
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.data import mini_folder
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.memory import Batch
from tests import small

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
METHODS = {
    "fgsm": FGSM,
    "bim": BIM,
    "mim": MIM,
    "deepfool": DeepFool(),
    "pgd": replace(PGD, count=10, starts=2),
    "apgd-ce": APGD(count=20),
    "apgd-t": APGD(targets=3, count=20),
    "fab": FAB(targets=3, count=20),
}
EPS = 4 / 255


def at(precision):
    victim = small.load("cosine")
    victim.precision = precision
    return victim


@pytest.fixture(scope="module")
def sure():
    """Images, and their labels, whose cross-entropy is at most 1e-6, right in every precision."""
    images, labels = small.pictures(400)
    with torch.no_grad():
        logits = at("fp32")(images)
        right = torch.stack([at(precision)(images).argmax(1) == labels for precision in PRECISIONS]).all(0)
    rows = (right & (cross_entropy(logits, labels) < 1e-6)).nonzero().flatten()[:8]
    assert len(rows) == 8
    return images[rows], labels[rows]


def tasks(images, labels, eps):
    return [
        Task(i, x, int(y), eps, np.random.default_rng(i)) for i, (x, y) in enumerate(zip(images, labels, strict=True))
    ]


def eps_of(name):
    return 1.0 if name == "deepfool" else EPS


@pytest.fixture(scope="module")
def attacked(sure):
    """By a method, in a precision; computed once."""
    return cache(
        lambda name, precision: list(in_turn(at(precision), [METHODS[name]], tasks(*sure, eps_of(name)), size=5))
    )


def test_half_precision_has_no_gradient_of_such_a_loss(sure):
    """Else the others of these tests would show nothing."""
    seen = sure[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(at("fp16")(seen), sure[1], reduction="sum"), seen)
    assert (gradient == 0).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_scaled_loss_has_the_direction_of_the_exact_one(sure, precision):
    images, labels = sure

    def direction(precision):
        seen = images.clone().requires_grad_()
        return ascent(cross_entropy, at(precision)(seen), labels, seen)[1]

    exact, scaled = direction("fp32"), direction(precision)
    assert F.cosine_similarity(exact.flatten(1), scaled.flatten(1)).min() > 0.9
    seen = images.double().requires_grad_()
    losses = F.cross_entropy(small.load("cosine").double()(seen), labels, reduction="none")
    (true,) = torch.autograd.grad(losses.sum(), seen)
    true = true / true.abs().amax((1, 2, 3), keepdim=True)
    known = losses > 1e-13  # below, not even torch's double precision has all of it
    assert known.sum() >= 2
    assert F.cosine_similarity(exact.flatten(1).double(), true.flatten(1))[known].min() > 0.999


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", METHODS)
def test_what_stands_and_what_falls_is_the_float32_models(sure, attacked, name, precision):
    images, eps = sure[0], eps_of(name)
    exact, found = attacked(name, "fp32"), attacked(name, precision)
    standing = [sum(not d.fooled for d in done) for done in (exact, found)]
    assert abs(standing[0] - standing[1]) <= 1
    assert standing[1] < 8
    for d in found:
        with torch.no_grad():
            assert int(at("fp32")(d.image[None]).argmax()) == d.prediction
        assert (d.image - images[d.task.key]).abs().max() <= eps + 1e-6
        assert not d.zero_gradient


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_low_precision_finds_nearly_all_by_itself(sure, precision):
    """Which is what it is tried for: the exact model is asked to confirm alone."""
    exact = {d.task.key for d in run(at("fp32"), BIM, tasks(*sure, EPS), size=8) if d.fooled}
    found = {d.task.key for d in run(at(precision), BIM, tasks(*sure, EPS), size=8) if d.fooled}
    assert len(exact - found) <= 1


def test_perturbations_crafted_in_half_precision_are_as_strong(sure):
    images, labels = sure
    fooled = []
    for precision in ("fp32", "fp16"):
        rngs = [np.random.default_rng(i) for i in range(8)]
        crafted = transfer.craft(at(precision), transfer.CRAFTED["mim"], images, labels.tolist(), [EPS] * 8, rngs)
        with torch.no_grad():
            fooled.append(int((at("fp32")(crafted).argmax(1) != labels).sum()))
    assert fooled[0] > 0
    assert fooled[1] >= fooled[0] - 1


class Mistaken(torch.nn.Module):
    """In a lower precision it is fooled by anything that is not a clean image."""

    def __init__(self, net, clean):
        super().__init__()
        self.net, self.clean = net, clean

    def forward(self, images):
        logits = self.net(images)
        if not torch.is_autocast_enabled("cpu"):
            return logits
        known = torch.stack([((images - x).abs().amax((1, 2, 3)) < 1e-6) for x in self.clean]).any(0)
        return torch.where(known[:, None], logits, -logits)


def test_what_fools_the_low_precision_alone_is_attacked_in_float32(sure):
    images, labels = sure
    tiny = 1e-6
    victim = at("fp16")
    victim.net = Mistaken(victim.net, (images - victim.mean) / victim.std)
    assert all(d.fooled for d in run(victim, FGSM, tasks(images, labels, EPS / 2), size=8))
    done = list(in_turn(victim, [BIM], tasks(images, labels, tiny + 1e-4), size=3))
    assert not any(d.fooled for d in done)
    steps = BIM.steps(tiny + 1e-4)
    assert all(d.steps == steps and d.passes > steps for d in done)


@pytest.mark.parametrize("name", ["transfer-fgsm", "typographic", "universal", "torchattacks:FGSM", "bim", "deepfool"])
def test_no_attacked_image_is_judged_in_a_lower_precision(tmp_path, monkeypatch, name):
    """The last pass of each is in float32: it is about what was perturbed."""
    victim = models.load("mini:supervised", small.MINI)
    victim.precision = "bf16"
    passes = []
    forward = Classifier.forward
    monkeypatch.setattr("clip_robustness.evaluation.computing.bounded", lambda *_, **__: Batch(32, 32))
    monkeypatch.setattr(Classifier, "forward", lambda self, x: (passes.append(self.precision), forward(self, x))[1])
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), small.MINI), 12, seed=0)
    evaluate = Evaluator(Store(tmp_path), device=torch.device("cpu"), batch_size=32)
    evaluate(victim, attack(name, "" if name == "typographic" else "8/255"), images, victim)
    assert passes[-1] == "fp32"
    assert ("bf16" in passes) == (name != "deepfool")
