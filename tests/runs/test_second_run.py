"""A run whose outcomes are all stored."""

import subprocess
import sys
from dataclasses import replace

from clip_robustness.results import results
from tests import ROOT

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
[conditions]
natural = ["imagenet-v2"]
imagenet-c = { corruptions = ["contrast"], severities = [2] }
attacks = [{ names = ["fgsm", "universal"], eps = ["1/255"] }]
overlap = "mini:pretraining"
"""
WITHOUT_TORCH = """
import sys
class Blind:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "timm", "open_clip", "matplotlib"):
            raise ImportError(f"{name} is not needed")
sys.meta_path.insert(0, Blind())
from clip_robustness.models import remembered
remembered._YOUNG = -1e9  # in a fresh clone the embedded weights are
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def rows(folder):
    return [replace(row, seconds=0.0) for row in results.read(folder / "results.json").cells]


def test_a_second_run_needs_neither_torch_nor_matplotlib(suite_run, toml):
    suite = f"--suite={toml(SUITE)}"
    first = suite_run(suite)
    before = rows(first.report_dir)
    arguments = ["-p", "no:cacheprovider", suite, f"--report-dir={first.report_dir}"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == first.code, done.stdout + done.stderr
    assert len(before) == 14
    assert rows(first.report_dir) == before
    assert "could not be made" not in done.stdout
