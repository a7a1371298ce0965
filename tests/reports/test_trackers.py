"""Runs in trackers of experiments, by their own offline modes and local stores."""

from dataclasses import replace

import pytest

from clip_robustness.errors import InputError
from clip_robustness.reports import trackers
from clip_robustness.results.result import Figure, Result
from clip_robustness.results.results import Results

CELL = Result("natural", "imagenet-v2", {}, "open_clip:x@a/b.pt", "candidate", "fail", "too low", n=100, accuracy=0.5)
CELL = replace(CELL, ci95=(0.4, 0.6), difference=Figure(-0.1, (-0.2, 0.0)), limits=1)
RUN = Results("s", {"started": "2026-01-31T12:00:00+00:00"}, [], [CELL])
NAME = "open_clip-x-a-b.pt/natural/imagenet-v2"


@pytest.fixture
def folder(tmp_path):
    """Of a run's reports."""
    place = tmp_path / "robustness" / "latest"
    place.mkdir(parents=True)
    for name in ("report.html", "results.json", "summary.md"):
        (place / name).write_text(f"this is {name}")
    return place


def test_figures_have_names_that_every_tracker_takes_and_their_intervals():
    assert trackers.figures(RUN) == {
        f"{NAME}/accuracy": 0.5, f"{NAME}/accuracy_low": 0.4, f"{NAME}/accuracy_high": 0.6,
        f"{NAME}/difference": -0.1, f"{NAME}/difference_low": -0.2, f"{NAME}/difference_high": 0.0, f"{NAME}/n": 100.0,
    }  # fmt: skip


def test_what_is_not_there_is_said_before_anything_runs(monkeypatch):
    with pytest.raises(InputError, match="--log mlflw: no such tracker; did you mean 'mlflow'"):
        trackers.check("mlflw")
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"--log wandb: wandb is not installed; pip install .*\[wandb\]"):
        trackers.check("wandb")


def test_tensorboard_has_the_figures_and_the_report(folder):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(trackers.log("tensorboard", RUN, folder))
    events.Reload()
    assert events.Scalars(f"{NAME}/accuracy_low")[0].value == pytest.approx(0.4)
    texts = [events.Tensors(tag)[0].tensor_proto.string_val[0] for tag in events.Tags()["tensors"]]
    assert any(b"The gate fails in 1 of 1 cell" in text for text in texts)
    assert b"this is summary.md" in texts


def test_mlflow_has_the_figures_the_verdicts_and_the_report(folder, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the store that needs no data base
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    many = replace(RUN, cells=[CELL, *(replace(CELL, condition=f"own{i}") for i in range(300))])
    said = trackers.log("mlflow", many, folder)
    client = mlflow.MlflowClient()
    run = client.get_run(said.rpartition(" ")[2])
    assert run.data.metrics == trackers.figures(many)
    assert len(run.data.metrics) == 301 * 7
    assert run.data.tags["gate"] == "fails"
    assert run.data.tags[f"{NAME}/verdict"] == "fail"
    assert {file.path for file in client.list_artifacts(run.info.run_id, "report")} == {
        "report/report.html", "report/results.json", "report/summary.md",
    }  # fmt: skip


def unframed(file):
    """What stands in a file of LevelDB's log format, which wandb keeps runs in: records are cut at 32 KiB."""
    found, at = b"", 7
    while at + 7 <= len(file):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length = int.from_bytes(file[at + 4 : at + 6], "little")
        found += file[at + 7 : at + 7 + length]
        at += 7 + length
    return found


def test_wandb_keeps_a_run_offline(folder, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers.log("wandb", RUN, folder)
    wandb.teardown()  # its service writes what is left
    (kept,) = (folder.parent / "wandb").glob("offline-run-*/run-*.wandb")
    content = unframed(kept.read_bytes())
    for said in (f"{NAME}/accuracy_low", "robustness-report", "report.html", "results.json", "gate_sentence"):
        assert said.encode() in content, said
