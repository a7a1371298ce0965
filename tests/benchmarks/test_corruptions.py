"""Milliseconds of each corruption of a 224 px image at severity 5, on one thread; and against imagecorruptions.

The comparison needs the environment of data/period.py: IMAGECORRUPTIONS_PYTHON=period/bin/python.
"""

import json
import os
import subprocess
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from clip_robustness.conditions.benchmark import CORRUPTIONS
from clip_robustness.conditions.corruptions.corrupt import corrupt, corrupt_batch
from tests import DATA

BROKEN = {"fog", "glass_blur", "gaussian_blur"}
"""Those of imagecorruptions that fail with today's libraries."""


@pytest.fixture(autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def image():
    photo = np.load(DATA / "corruption_references.npz")["image_0"]
    return np.asarray(Image.fromarray(photo).resize((224, 224), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_one_image(benchmark, image, name):
    benchmark(lambda: corrupt(image, name, 5, np.random.default_rng(0)))


def seconds(image, name, rounds=10):
    best = np.inf
    for _ in range(rounds):
        rng = np.random.default_rng(0)
        began = time.perf_counter()
        corrupt(image, name, 5, rng)
        best = min(best, time.perf_counter() - began)
    return best


def test_speed_against_imagecorruptions(image, tmp_path):
    if not (python := os.environ.get("IMAGECORRUPTIONS_PYTHON")):
        pytest.skip("IMAGECORRUPTIONS_PYTHON names no interpreter of the environment in data/period.py")
    np.save(tmp_path / "image.npy", image)
    before = {name: seconds(image, name) for name in CORRUPTIONS}
    command = [python, DATA / "time_imagecorruptions.py", tmp_path / "image.npy"]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = {name: min(before[name], seconds(image, name)) for name in before}
    for name in ours:
        print(f"{name:18} {1e3 * theirs[name]:8.2f} ms {1e3 * ours[name]:8.2f} ms {theirs[name] / ours[name]:6.1f}x")
    running = [name for name in ours if name not in BROKEN]
    total = sum(theirs[n] for n in running) / sum(ours[n] for n in running)
    print(f"the {len(running)} that run today: {total:.1f}x; all: {sum(theirs.values()) / sum(ours.values()):.1f}x")
    assert total >= 3
    assert theirs["glass_blur"] >= 20 * ours["glass_blur"]
    assert theirs["zoom_blur"] >= 4 * ours["zoom_blur"]
    assert [name for name in ours if ours[name] > theirs[name]] == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch(benchmark, image, threads):
    """All corruptions of eight images."""

    def work():
        for name in CORRUPTIONS:
            corrupt_batch([image] * 8, name, 5, [np.random.default_rng(i) for i in range(8)], threads=threads)

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)
