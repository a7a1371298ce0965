"""What CI services, shells and container engines read, by linters and schemas that pip installs, without a network."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = [".github/workflows/ci.yml", "docs/ci/github.yml"]
SCRIPTS = ["docs/ci/gate.sh", "docs/cluster/slurm.sh", "docs/cluster/slurm-shards.sh"]


def says(tool, *arguments, **options):
    """What a linter that pip installed finds; '' for nothing."""
    command = [BIN / tool, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    return done.stdout + done.stderr if done.returncode else ""


def by_schema(name, *files):
    return says("check-jsonschema", "--builtin-schema", f"vendor.{name}", *files)


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-actions", ["action.yml"]),
        ("github-issue-forms", [str(file) for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]),
        ("dependabot", [".github/dependabot.yml"]),
        ("gitlab-ci", ["docs/ci/gitlab.yml"]),
    ],
)
def test_files_fit_their_schema(schema, files):
    assert files
    assert by_schema(schema, *files) == ""


def test_the_component_fits_gitlabs_schema_by_its_defaults(tmp_path):
    spec, component = (ROOT / "templates" / "gate.yml").read_text().split("\n---\n")
    inputs = yaml.safe_load(spec)["spec"]["inputs"]
    job = json.dumps(yaml.safe_load(component))  # GitLab fills in what it has parsed
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: inputs[found[1]].get("default", "x"), job)
    for name, text in (("spec.yml", spec), ("job.yml", filled)):
        (tmp_path / name).write_text(text)
        assert by_schema("gitlab-ci", tmp_path / name) == ""


def test_workflows_and_the_action_are_safe():
    """Actions by their commits, no more permissions than needed, no credentials left behind, no inputs as code."""
    assert says("zizmor", "--offline", "--no-progress", "--quiet", "action.yml", ".github", "docs/ci/github.yml") == ""


@pytest.mark.parametrize("file", SCRIPTS)
def test_scripts(file):
    assert says("shellcheck", file) == ""


def test_steps_are_scripts():
    action, workflow = (yaml.safe_load((ROOT / file).read_text()) for file in ("action.yml", WORKFLOWS[0]))
    steps = [*action["runs"]["steps"], *workflow["jobs"]["check"]["steps"]]
    scripts = [step["run"] for step in steps if "run" in step]
    _, component = yaml.safe_load_all((ROOT / "templates" / "gate.yml").read_text())
    scripts.append("\n".join(component["robustness"]["script"]))
    assert len(scripts) >= 8
    for script in scripts:
        assert says("shellcheck", "--shell=bash", "-", input=script) == "", script


def test_the_container_file():
    assert says("hadolint", "docs/ci/Containerfile") == ""


def test_an_image_is_built_of_what_the_wheel_needs():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    package = ROOT / "src" / "clip_robustness"
    linked = {link.name for link in package.iterdir() if link.is_symlink()}
    assert sent == {"src", "LICENSE", "README.md", "pyproject.toml", "constraints.txt", *linked}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {line.rstrip("/") for line in ignored if line.startswith("reports/")} <= set(lines), "recorded runs"
