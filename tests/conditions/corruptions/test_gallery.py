"""The picture of all corruptions: which tile is which, and the file."""

import runpy
import sys

import numpy as np
from PIL import Image

from clip_robustness.conditions.benchmark import CORRUPTIONS, CORRUPTIONS_OF_MCE
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.conditions.corruptions.gallery import gallery
from clip_robustness.datasets.dataset import image_rng
from tests import DATA

MODULE = "clip_robustness.conditions.corruptions.gallery"


def test_rows_are_corruptions_and_columns_severities(tmp_path, monkeypatch):
    """Of the middle square at 224 px, shown at 120 px under a line of 14 px with the name."""
    pixels = np.load(DATA / "corruption_references.npz")["image_0"]
    photo = Image.fromarray(pixels).resize((448, 336))
    sheet = np.asarray(gallery(photo))
    assert sheet.shape == (len(CORRUPTIONS) * 134, 600, 3)
    clean = np.asarray(photo.resize((224, 224), Image.Resampling.BICUBIC, box=(56, 0, 392, 336)))
    for name, severity in (("brightness", 1), ("gaussian_noise", 5), ("saturate", 3)):
        top, left = 134 * CORRUPTIONS.index(name) + 14, 120 * (severity - 1)
        shown = corrupt(clean, name, severity, image_rng(0, f"imagenet-c {name}", "gallery"))
        tile = Image.fromarray(shown).resize((120, 120), Image.Resampling.BOX)
        assert np.array_equal(sheet[top : top + 120, left : left + 120], np.asarray(tile)), name
    dark = sheet.reshape(len(CORRUPTIONS), 134, 600, 3)[:, :14].min((1, 3)) < 100
    assert not dark[:, :2].any()
    assert dark[:, 2:6].any(1).all()
    ends = dict(zip(CORRUPTIONS, [np.flatnonzero(row).max() for row in dark], strict=True))
    assert ends["saturate"] > ends["contrast"] + 20  # "(extra)"
    assert ends["speckle_noise"] > ends["gaussian_noise"]
    assert "saturate" not in CORRUPTIONS_OF_MCE
    photo.save(tmp_path / "photo.png")
    monkeypatch.setattr(sys, "argv", ["gallery", str(tmp_path / "photo.png"), str(tmp_path / "all.jpg")])
    monkeypatch.delitem(sys.modules, MODULE)
    runpy.run_module(MODULE, run_name="__main__")
    Image.fromarray(sheet).save(tmp_path / "same.jpg", quality=80, optimize=True)
    assert (tmp_path / "all.jpg").read_bytes() == (tmp_path / "same.jpg").read_bytes()
