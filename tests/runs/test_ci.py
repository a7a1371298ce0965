"""The workflows in docs/ci, by executing their steps for a good, a worse and a broken checkpoint."""

import os
import re
import signal
import subprocess
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from clip_robustness.mini import train
from clip_robustness.reports.command import github_lines, github_warnings
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results, read
from tests import ROOT
from tests.forks import commands

SUITE = """
classes = "mini"
supervised = ["mini:supervised"]
samples = 240
[data]
imagenet = "mini:imagenet"
[conditions]
natural = []
[[rules]]
match = "*"
max_drop_vs_supervised = 0.9
"""
"""Its own rule hides nothing of the profile's: what fails is the regression alone."""


@pytest.fixture
def workspace(tmp_path):
    """A model repository with the suite checked out in it, installed."""
    (tmp_path / "robustness.toml").write_text(SUITE)
    (tmp_path / ".suite").symlink_to(ROOT)
    weights = {key: value.float() for key, value in load_file(train.CLIP_WEIGHTS).items()}
    save_file(weights, tmp_path / "good.safetensors")
    torch.manual_seed(0)
    noisy = {k: v + 0.35 * v.std() * torch.randn_like(v) if v.ndim > 1 else v for k, v in weights.items()}
    save_file(noisy, tmp_path / "worse.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with commands(tmp_path / "clip-robustness" / "bin"):
        yield tmp_path


def steps(kind):
    """The gate's own command of the action and of the component: what comes before it installs."""
    if kind == "github":
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        return [step["run"] for step in action["runs"]["steps"] if step.get("name") == "gate"]
    _, component = yaml.safe_load_all((ROOT / "templates" / "gate.yml").read_text())
    return [line for line in component["robustness"]["script"] if "RECORD" in line or "gate.sh" in line]


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_exit_codes_and_what_is_left_behind(workspace, kind):
    summary = workspace / "step-summary.md"
    path = f"{workspace / 'clip-robustness' / 'bin'}:{os.environ['PATH']}"
    given = {"OUT": "robustness", "SUITE": "robustness.toml", "PROFILE": "release", "PATH": path}
    if kind == "github":
        given |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "RECORD": "main", "ARGUMENTS": "-q -q"}
        given |= {"GITHUB_ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(workspace)}
    else:
        given |= {"CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main", "CI_COMMIT_SHA": "abc"}
    expected = {"good": 0, "worse": 1, "broken": 4}
    stale = workspace / "robustness" / "latest" / "own.xml"
    for name, code in expected.items():
        stale.parent.mkdir(parents=True, exist_ok=True)
        stale.touch()
        environment = os.environ | given | {"CANDIDATE": f"open_clip:mini-clip@{workspace / name}.safetensors"}
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(steps(kind))],
            cwd=workspace, env=environment, capture_output=True, text=True, check=False, timeout=300, close_fds=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert len(read(workspace / "robustness" / "latest" / "results.json").cells) == (0 if name == "broken" else 2)
        assert not stale.exists()
        if name == "worse":
            said = (workspace / "robustness" / "latest" / "comment.md").read_text()
            assert "difference to the recorded run" in said
            assert "pass → fail" in said
            assert ("::error title=open_clip%3Amini-clip@" in done.stdout) == (kind == "github")
    assert len(list((workspace / "robustness" / "history").iterdir())) == 1
    if kind == "github":
        headings = [line for line in summary.read_text().splitlines() if line.startswith("## ")]
        said = ("✅ holds", "❌ fails", "⚠️ undecided")
        assert headings == [f"## Robustness, suite robustness: {verdict}" for verdict in said]
        assert "The run ended before anything was measured: " in summary.read_text()


def test_an_annotation_can_not_be_closed_by_a_name():
    cell = Result("clean", "clean", {}, "evil,%\n::warning::x", "candidate", "fail", "two\nlines")
    failing = Results("mini", {}, [], [replace(cell, accuracy=0.5)])
    assert github_lines(failing) == ["::error title=evil%2C%25%0A%3A%3Awarning%3A%3Ax clean%3A fail::two%0Alines"]


def test_an_undecided_run_and_its_warnings_are_annotated():
    cell = Result("clean", "clean", {}, "m", "candidate", "inconclusive", "", accuracy=0.5, limits=1, allowed=True)
    run = Results("mini", {}, [], [cell], warnings=["nothing to\ncompare"])
    assert github_warnings(run) == [
        "::warning title=robustness mini::nothing to%0Acompare",
        "::warning title=robustness mini::The gate is undecided: 0 of 1 limit shown to hold; 1 inconclusive",
    ]
    passed = Results("mini", {}, [], [replace(cell, verdict="pass")])
    assert github_lines(run) == github_lines(passed) == github_warnings(passed) == []


def test_a_run_that_did_not_end_is_annotated():
    said = github_lines(Results("mini", {}, [], [], partial="The run was ended by SIGTERM, and\nmore"))
    assert said == ["::error title=suite mini::The run was ended by SIGTERM, and%0Amore"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 143)])
def test_a_cancelled_job_ends_its_run_in_order(tmp_path, number, code):
    """The command is a script that ends as the suite does: some time after the signal, and with its own code."""
    (tmp_path / "clip-robustness").write_text(
        "#!/bin/sh\n[ $1 = run ] || exit 1\n"
        "trap 'sleep 1; touch \"$OUT/report\"; exit 143' TERM\n"
        "trap 'sleep 1; touch \"$OUT/report\"; exit 129' HUP\necho begun\nwhile :; do sleep 0.1; done\n"
    )
    (tmp_path / "clip-robustness").chmod(0o755)
    environment = os.environ | {"OUT": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    gate = subprocess.Popen([ROOT / "docs" / "ci" / "gate.sh"], env=environment, stdout=subprocess.PIPE, text=True)
    assert gate.stdout.readline() == "begun\n"
    gate.send_signal(number)
    assert gate.wait() == code
    assert (tmp_path / "report").exists()


def test_the_action_and_the_workflow_use_what_there_is():
    """Each input is used and each that is used is declared; the workflow gives no other; every step has a shell."""
    text = (ROOT / "action.yml").read_text()
    action = yaml.safe_load(text)
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(action["inputs"])
    assert all("shell" in step for step in action["runs"]["steps"] if "run" in step)
    assert not any("${{" in step["run"] for step in action["runs"]["steps"] if "run" in step), "inputs are no code"
    workflow = yaml.safe_load((ROOT / "docs" / "ci" / "github.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if "clip-robustness-suite@" in step["uses"]]
    assert set(step["with"]) <= set(action["inputs"])
    spec, component = ((ROOT / "templates" / "gate.yml").read_text()).split("\n---\n")
    declared = yaml.safe_load(spec)["spec"]["inputs"]
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", component)) == set(declared)
    assert "$[[" not in str(yaml.safe_load(component)["robustness"]["script"]), "inputs are no code"
    (included,) = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())["include"]
    assert set(included["inputs"]) <= set(declared)


def test_the_container_runs_as_nobody_in_particular_and_writes_where_it_may():
    lines = (ROOT / "docs" / "ci" / "Containerfile").read_text().splitlines()
    user = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert user == ["10001:10001"]
    assert lines.index("USER 10001:10001") < lines.index('ENTRYPOINT ["clip-robustness"]')
    usage = " ".join(line for line in lines if line.startswith("#"))
    for option in ("--read-only", "--network none", "--cap-drop all", "no-new-privileges"):
        assert option in usage
