"""`--engine ray`: the same rows as a local run, whatever happens to the workers. A local Ray of two CPUs."""

import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.evaluation.cluster import Cluster
from clip_robustness.models.spec import parse
from tests.conftest import run_pytest

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

SUITE = """
classes = "mini"
candidate = ["mini:clip", "mini:filter"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
imagenet-r = "mini:imagenet-r"
ytbb-robust = "mini:ytbb-robust"
[conditions]
natural = ["imagenet-r", "ytbb-robust"]
imagenet-c = { corruptions = ["fog"], severities = [3] }
attacks = [
    { names = ["deepfool", "transfer-fgsm"], eps = ["1/255"] },
    { names = ["universal"], eps = ["8/255"] },
]
[[rules]]
match = "*"
max_drop_vs_supervised = 0.02
[[rules]]
match = "synthetic/*"
max_drop_vs_clean = 0.0
"""
ONE = """
classes = "mini"
candidate = ["python:tests.runs.test_ray:CANDIDATE"]
supervised = ["mini:supervised"]
samples = 96
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
[conditions]
natural = ["imagenet-v2"]
"""
KILLED = "SCALE_TEST_KILLED"
"""Where a worker notes that it was killed."""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """As Ray gives a task of one CPU: another number of threads rounds otherwise."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def rows(run):
    return [{key: value for key, value in cell.items() if key != "seconds"} for cell in run.cells]


def changed(inner, before):
    forward = inner.net.forward

    def looked_at(images):
        before(images)
        return forward(images)

    inner.net.forward = looked_at
    return inner


def killed_once(spec, classes, device):
    """mini:clip, whose Ray worker is killed in the first block that it computes, and no more."""

    def kill(images):
        place = Path(os.environ[KILLED])
        if "RAY_JOB_ID" in os.environ and len(images) > 2 and not place.exists():
            place.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return changed(models.load("mini:clip", classes, device), kill)


def broken(spec, classes, device):
    """mini:clip, which can't do more than 20 images."""

    def refuse(images):
        if len(images) > 20:
            raise ArithmeticError("too many for me")

    return changed(models.load("mini:clip", classes, device), refuse)


def hungry(spec, classes, device):
    """mini:clip, for which there is memory for eight images."""

    def refuse(images):
        if len(images) > 8:
            raise torch.OutOfMemoryError("out of memory")

    return changed(models.load("mini:clip", classes, device), refuse)


def deadly(spec, classes, device):
    """mini:clip, which always takes its worker along."""

    def kill(images):
        if "RAY_JOB_ID" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)

    return changed(models.load("mini:clip", classes, device), kill)


def runs(tmp_path, suite, *args):
    """A local run and one by Ray."""
    (tmp_path / "suite.toml").write_text(suite)
    given = f"--suite={tmp_path / 'suite.toml'}", *args
    return run_pytest(tmp_path / "local" / "run", *given), run_pytest(tmp_path / "ray" / "run", *given, "--engine=ray")


def test_a_run_on_ray_gives_the_rows_of_a_local_one(tmp_path):
    local, ray = runs(tmp_path, SUITE)
    assert local.code in (0, 1), local.output
    assert rows(ray) == rows(local), ray.output
    assert ray.code == local.code
    took = [[cell["seconds"] > 0 for cell in run.cells] for run in (local, ray)]
    assert took[0] == took[1]  # what cells share is counted once
    assert any(took[1])
    again = run_pytest(tmp_path / "ray" / "run", f"--suite={tmp_path / 'suite.toml'}")  # the store has it all
    assert rows(again) == rows(ray)
    assert all(cell["seconds"] == 0 for cell in again.cells)


def test_blocks_of_a_cell_are_put_together(tmp_path):
    """96 images in blocks of 4 x 8."""
    local, ray = runs(tmp_path, ONE.replace("python:tests.runs.test_ray:CANDIDATE", "mini:clip"), "--batch-size=8")
    assert local.code == 0, local.output
    assert rows(ray) == rows(local), ray.output


def test_a_worker_killed_in_a_task_costs_no_row_and_changes_none(tmp_path, monkeypatch):
    monkeypatch.setenv(KILLED, str(tmp_path / "killed"))
    local, ray = runs(tmp_path, ONE.replace("CANDIDATE", "killed_once"), "--batch-size=8")
    assert (tmp_path / "killed").exists()
    assert local.code == 0, local.output
    assert rows(ray) == rows(local), ray.output


def test_what_a_model_raises_on_a_worker_is_its_tests_error(tmp_path):
    local, ray = runs(tmp_path, ONE.replace("CANDIDATE", "broken"), "-k", "imagenet-v2")
    assert local.code == ray.code == 1, ray.output
    assert rows(ray) == rows(local)
    assert ray.cells[0]["reason"] == "too many for me"


def test_a_batch_that_a_node_halves_is_noted(tmp_path):
    local, ray = runs(tmp_path, ONE.replace("CANDIDATE", "hungry"), "--batch-size=16")
    assert rows(ray) == rows(local), ray.output
    assert "computed 8 images at a time, 16 do not fit into memory" in " ".join(ray.cell("imagenet-v2")["warnings"])


def test_a_node_without_the_images_is_named(tmp_path):
    """What is missing here, too, is a matter of the data set."""
    here, gone = tmp_path / "here.png", tmp_path / "gone.png"
    here.touch()
    key = ("mini:clip", CLEAN.computation)
    cluster = object.__new__(Cluster)
    cluster._tasks, cluster._open, cluster._seconds = {"task": (CLEAN, [parse("mini:clip")])}, {key: 1}, {key: 0.0}
    cluster._failed, cluster._ray = {}, SimpleNamespace(get=lambda task: ("node7", [gone, here], [([], 1.0)]))
    cluster._store("task")
    assert f"node node7 lacks 1 images that are here (first: {here})" in str(cluster._failed[key])


def test_a_task_that_takes_its_workers_along_is_given_up(tmp_path):
    (tmp_path / "suite.toml").write_text(ONE.replace("CANDIDATE", "deadly"))
    run = run_pytest(tmp_path / "r" / "run", f"--suite={tmp_path / 'suite.toml'}", "-k", "imagenet-v2", "--engine=ray")
    assert run.code == 1, run.output
    assert run.cells[0]["reason"].startswith("--engine ray: a block of imagenet-v2 was given up: ")


def test_ray_has_workers_of_its_own(suite_run):
    run = suite_run("--engine=ray", "-n", "2")
    assert run.code == 4
    assert "--engine ray has workers of its own; leave out -n" in run.output


def test_a_cluster_that_is_not_there_is_said_at_once(suite_run, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    run = suite_run("--engine=ray")
    assert run.code == 4
    assert f"--engine ray: the cluster of RAY_ADDRESS={address} can't be reached: " in run.output
