"""The mean over the cells of ImageNet-C, the only cell that is made of others, in every kind of run."""

import json
import sys

import pytest

from clip_robustness.conditions.condition import SEVERITIES
from clip_robustness.metrics.corruption import alexnet_errors
from tests.conftest import run_pytest
from tests.evaluation.test_session import write
from tests.forks import Fork

SUITE = """
candidate = ["python:tests.evaluation.test_session:brightest"]
supervised = ["python:tests.evaluation.test_session:brightest"]
[data]
imagenet = "val"
imagenet-c = "c"
[conditions]
imagenet-c-disk = { corruptions = NAMES }
[[rules]]
match = "synthetic/imagenet-c-disk-mce"
max_mce = 2.0
"""
MEAN = "imagenet-c-disk-mce"


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Four images of a class in 75 cells, of which as many are wrong as the severity says."""
    folder = tmp_path_factory.mktemp("suite")
    for label in (0, 1):
        write(folder / "val", label, label, 0)
    for name in alexnet_errors():
        for severity in SEVERITIES:
            for i in range(4):
                write(folder / "c" / name / str(severity), 0, 500 if i < severity - 1 else 0, i)
    (folder / "suite.toml").write_text(SUITE.replace("NAMES", json.dumps(list(alexnet_errors()))))
    return f"--suite={folder / 'suite.toml'}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, suite):
    return run_pytest(tmp_path_factory.mktemp("whole") / "run", suite)


def rows(cells):
    return [{key: value for key, value in cell.items() if key != "seconds"} for cell in cells]


def mean_of(cells):
    return [row for row in rows(cells) if row["condition"] == MEAN]


def test_it_is_the_mean_of_its_cells(whole):
    assert whole.code == 0, whole.output
    cells = [c for c in whole.cells if c["condition"] == "imagenet-c-disk" and c["role"] == "candidate"]
    mean = whole.cell(MEAN)
    assert len(cells) == 75
    assert mean["accuracy"] == pytest.approx(sum(c["accuracy"] for c in cells) / 75)
    assert (mean["n"], mean["verdict"]) == (300, "pass")


@pytest.mark.parametrize("how", [("-n", "2"), ("--time-limit=1h",), ("--stop-early",)], ids=str)
def test_it_is_the_same_however_a_run_is_made(whole, suite, suite_run, how):
    run = suite_run(suite, *how)
    assert run.code == 0, run.output
    assert rows(run.cells) == rows(whole.cells)


def test_it_is_the_same_on_ray(whole, suite, run_here, monkeypatch):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from tests.ray_here import RayHere

    monkeypatch.setitem(sys.modules, "ray", RayHere())
    run = run_here(suite, "--engine=ray", "-k", MEAN)
    assert run.code == 0, run.output
    assert rows(run.cells) == mean_of(whole.cells)
    assert run.cell(MEAN)["seconds"] > 0


def test_shards_are_merged_to_it(whole, suite, tmp_path):
    """Its cells are more than a shard's fair share: the shard that has it computes them, too."""
    for i in (1, 2):
        assert run_pytest(tmp_path / str(i) / "run", suite, f"--shard={i}/2").code == 0
    shards = [str(tmp_path / str(i) / "run" / "results.json") for i in (1, 2)]
    code, said = Fork("clip_robustness", "merge", *shards, "-o", str(tmp_path / "merged")).communicate()
    assert code == 0, said
    merged = json.loads((tmp_path / "merged" / "results.json").read_text())["cells"]
    assert rows(merged) == rows(whole.cells)


def test_alone_it_computes_its_cells_and_says_so_before(whole, suite, suite_run):
    planned = suite_run(suite, "--dry-run", "-k", MEAN)
    assert f"synthetic/{MEAN}" in planned.output
    assert "the mean of the cells of imagenet-c-disk" in planned.output
    assert planned.output.count("to compare with") == 76
    assert "1 cell of candidates, outcomes of 76 (model, condition): 302 images, 0 of them stored" in planned.output
    late = suite_run(suite, "--time-limit=1s", "-k", MEAN)
    assert (late.code, late.cell(MEAN)["verdict"]) == (5, "not run")
    run = suite_run(suite, "-k", MEAN)
    assert run.code == 0, run.output
    assert rows(run.cells) == mean_of(whole.cells)
    assert run.cell(MEAN)["seconds"] > 0
    assert "302 images, 302 of them stored" in suite_run(suite, "--dry-run", "-k", MEAN).output
