"""The proof of the diagnosis: causes that are planted are named, set-ups that are right have none."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clip_robustness.models import embedded
from tests.calibration.planted import CLASSES, CLIP, SETS, calibration, figures, renamed, saved_anew, write

KEYS = list(CLASSES.keys)
AS_TEXT = sorted(range(len(KEYS)), key=str)
OPTIONS = {
    "prompts": "prompts=simple",
    "class names": "class_names={names}",
    "activation": "quick_gelu=true",
    "mean and std": "mean=0.5,0.5,0.5&std=0.5,0.5,0.5",
    "interpolation": "interpolation=bilinear",
    "crop": "resize_mode=squash",
    "half precision": "precision=bf16",
}
"""Causes in the spec."""
FILES = {
    "BGR": ("imagenet-a", {"change": lambda pixels: np.ascontiguousarray(pixels[..., ::-1])}),
    "shifted labels": ("imagenet", {"folder": lambda key: KEYS[(KEYS.index(key) + 1) % len(KEYS)]}),
    "labels sorted as text": ("imagenet", {"folder": lambda key: KEYS[AS_TEXT.index(KEYS.index(key))]}),
}
"""Causes in the files of a set."""


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    folder = tmp_path_factory.mktemp("right")
    data = {name: write(folder / name, drawn) for name, drawn in SETS.items()}
    return data, figures(folder, CLIP, data)


def planted(cause, folder, data, published):
    """The spec, the sets and the figures of a set-up with the cause."""
    if cause in OPTIONS:
        names = folder / "names.tsv"
        names.write_text("".join(f"{key}\t{name} drawing\n" for key, name in zip(KEYS, CLASSES.names, strict=True)))
        return f"{CLIP}?{OPTIONS[cause].format(names=names)}", data, published
    if cause == "classes":  # the set under a name of its own, for which all classes are scored
        own = {"imagenet": data["imagenet"], "my-r": data["imagenet-r"]}
        return CLIP, own, {"clean": published["clean"], "my-r": published["imagenet-r"]}
    name, how = FILES[cause]
    return CLIP, data | {name: write(folder / "wrong", SETS[name], **how)}, published


def test_at_least_nine_of_ten_planted_causes_are_named(tmp_path, right):
    named, wrong = [], []
    for cause in [*OPTIONS, *FILES, "classes"]:
        folder = tmp_path / cause
        folder.mkdir()
        found = calibration(folder, *planted(cause, folder, *right))
        (named if [finding.cause for finding in found.findings] == [cause] else wrong).append((cause, found.findings))
    assert len(named) >= 0.9 * (len(named) + len(wrong)), wrong


def test_ten_right_set_ups_have_no_cause(tmp_path, right):
    data, published = right
    names, numbers = dict(zip(KEYS, CLASSES.names, strict=True)), {key: str(i) for i, key in enumerate(KEYS)}
    weights = load_file(embedded.CLIP_WEIGHTS)
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "copy.pt")
    only = renamed({"imagenet": data["imagenet"]}, tmp_path / "numbers", numbers)
    set_ups = {
        "another name": (
            "open_clip:mini-clip@" + str(shutil.copy(embedded.CLIP_WEIGHTS, tmp_path / "b.safetensors")),
            data,
        ),
        "a checkpoint of a training": (f"open_clip:mini-clip@{tmp_path / 'copy.pt'}", data),
        "options that say what is so": (f"{CLIP}?interpolation=bicubic&quick_gelu=false&prompts=openai-80", data),
        "strided": (f"{CLIP}?channels_last=false", data),
        "other files": (CLIP, saved_anew(data, tmp_path / "webp", "webp")),
        "bitmaps": (CLIP, saved_anew(data, tmp_path / "bmp", "bmp")),
        "folders by name": (CLIP, renamed(data, tmp_path / "names", names)),
        "folders by number": (CLIP, data | only),
        "a part": (CLIP, data),
        "another part": (CLIP, data),
    }
    for at, (what, (spec, sets)) in enumerate(set_ups.items()):
        folder = tmp_path / f"run{at}"
        folder.mkdir()
        samples = {"a part": 160, "another part": 200}.get(what)
        found = calibration(folder, spec, sets, published, samples=samples, tolerance=0.003)
        assert [c.status for c in found.comparisons if c.status == "differs"] == [], what
        assert found.findings == [], what
