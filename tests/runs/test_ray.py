"""`--engine ray`: the same rows as a local run, whatever happens to the workers. A local Ray of two CPUs, and none."""

import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.evaluation.cluster import Cluster
from clip_robustness.models.spec import parse
from tests.conftest import run_pytest
from tests.ray_here import RayHere

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

SUITE = """
classes = "mini"
candidate = ["mini:clip", "mini:filter", {}]
supervised = ["mini:supervised"]
samples = 36
[data]
imagenet = "mini:imagenet"
imagenet-r = "mini:imagenet-r"
ytbb-robust = "mini:ytbb-robust"
[conditions]
natural = ["imagenet-r", "ytbb-robust"]
imagenet-c = {{ corruptions = ["fog"], severities = [3] }}
attacks = [
    {{ names = ["deepfool", "transfer-fgsm"], eps = ["1/255"], samples = 12 }},
    {{ names = ["universal"], eps = ["8/255"], samples = 12 }},
]
[[rules]]
match = "*"
max_drop_vs_supervised = 0.02
[[rules]]
match = "synthetic/*"
max_drop_vs_clean = 0.0
"""
KILLED = "SCALE_TEST_KILLED"
"""Where a worker notes that it was killed."""


@pytest.fixture(scope="module", autouse=True)
def environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as Ray gives a task of one CPU: another number rounds otherwise
        patch.setenv("RAY_worker_niceness", "0")  # else whatever else runs here goes before it
        yield patch


def rows(run):
    return [{key: value for key, value in cell.items() if key != "seconds"} for cell in run.cells]


def changed(inner, before):
    forward = inner.net.forward

    def looked_at(images):
        before(images)
        return forward(images)

    inner.net.forward = looked_at
    inner.fingerprint = before.__qualname__  # else all are one model, which is asked once
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
    """mini:clip, which can't do more than six images."""

    def refuse(images):
        if len(images) > 6:
            raise ArithmeticError("too many for me")

    return changed(models.load("mini:clip", classes, device), refuse)


def hungry(spec, classes, device):
    """mini:clip, for which there is memory for four images."""

    def refuse(images):
        if len(images) > 4:
            raise torch.OutOfMemoryError("out of memory")

    return changed(models.load("mini:clip", classes, device), refuse)


def suite(*factories):
    return SUITE.format(", ".join(f'"python:{__name__}:{factory.__name__}"' for factory in factories))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, environment):
    """A local run and one by Ray, of 36 images in blocks of 4 x 8, but attacks of 12: what does not come from `mini:`
    under one condition alone. How to run locally on the store of Ray's. And where is noted that a worker was killed.
    """
    folder = tmp_path_factory.mktemp("runs")
    (folder / "suite.toml").write_text(suite(killed_once, broken, hungry))
    given = f"--suite={folder / 'suite.toml'}", "--batch-size=8", "-k", "mini or imagenet-r"
    environment.setenv(KILLED, str(folder / "killed"))
    local = run_pytest(folder / "local" / "run", *given)
    ray = run_pytest(folder / "ray" / "run", *given, "--engine=ray")
    return local, ray, lambda: run_pytest(folder / "ray" / "again", *given), folder / "killed"


def test_a_run_on_ray_gives_the_rows_of_a_local_one(runs):
    local, ray, again, _ = runs
    assert len(local.cells) > 20, local.output
    assert rows(ray) == rows(local), ray.output
    assert ray.code == local.code == 1
    # what cells share is counted once; the clean images that attacks need first are a part of them here alone
    took = [[c["seconds"] > 0 for c in run.cells if c["condition"] != "clean"] for run in (local, ray)]
    assert took[0] == took[1]
    assert any(took[1])
    assert not all(took[1])
    known = again()  # the store has it all
    assert rows(known) == rows(ray)
    assert all(cell["seconds"] == 0 for cell in known.cells if cell["verdict"] != "error")


def of(run, factory):
    """The row of a model that is not of `mini:`."""
    own = (cell for cell in run.cells if cell["model"].endswith(f":{factory.__name__}"))
    (found,) = (cell for cell in own if cell["condition"] == "imagenet-r")
    return found


def test_a_worker_killed_in_a_task_costs_no_row_and_changes_none(runs):
    local, ray, _, killed = runs
    assert killed.exists()
    assert of(ray, killed_once)["accuracy"] == of(local, killed_once)["accuracy"] > 0


def test_what_a_model_raises_on_a_worker_is_its_tests_error(runs):
    assert [of(run, broken)["reason"] for run in runs[:2]] == ["too many for me"] * 2


def test_a_batch_that_a_node_halves_is_noted(runs):
    said = "computed 4 images at a time, 8 do not fit into memory"
    assert all(said in " ".join(of(run, hungry)["warnings"]) for run in runs[:2])


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


def test_a_task_that_takes_its_workers_along_is_given_up(toml, run_here, monkeypatch):
    deaths = []
    monkeypatch.setitem(sys.modules, "ray", RayHere(dies=lambda: deaths.append(1) is None))
    run = run_here(f"--suite={toml(suite())}", "-k", "filter-clean-imagenet-r", "--batch-size=16", "--engine=ray")
    assert run.code == 1, run.output
    assert run.cells[0]["reason"].startswith("--engine ray: a block of clean-imagenet-r-classes was given up: ")
    assert len(deaths) == 2 * 4  # of a block of these images and of one of the clean ones, a try and three more


def test_ray_has_workers_of_its_own(run_here):
    run = run_here("--engine=ray", "-n", "2")
    assert run.code == 4
    assert "--engine ray has workers of its own; leave out -n" in run.output


def test_a_cluster_that_is_not_there_is_said_at_once(suite_run, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    run = suite_run("--engine=ray")
    assert run.code == 4
    assert f"--engine ray: the cluster of RAY_ADDRESS={address} can't be reached: " in run.output
