"""Tests of the user's own in a repository of the user's own: the plugin by a conftest, and nothing else of ours."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from clip_robustness.results.results import read
from tests import ROOT
from tests.forks import Fork

CONFTEST = """
import sys
import pytest
pytest_plugins = ["clip_robustness.fixtures.plugin"]

@pytest.fixture
def session():
    return "of a data base"

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        print("torch is", "loaded" if "torch" in sys.modules else "not loaded")
"""
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
night = "mini:imagenet-v2"
[conditions]
natural = ["night"]
[[rules]]
match = "natural/*"
min_accuracy = {floor}
"""
ROBUST = """
import pytest
from clip_robustness.fixtures.session import session  # this repository has one of its own

@pytest.mark.natural
def test_night(result):
    assert result.passed, result.reason

def test_mine(session, candidate, baseline):
    outcomes = session.evaluate(candidate, "bim-8/255")
    assert len(outcomes.correct) == session.evaluate(baseline, "night").correct.size == 24
    assert session.classifier(candidate).image_size == 64
    assert len(session.images("night")) == 24
"""
OTHER = """
import models
import pytest

@pytest.fixture
def cell():
    return "of a sheet"

@pytest.fixture
def candidate():
    return "for an office"

@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.natural
def test_unrelated(session, cell, candidate, result):
    assert (session, cell, candidate, models.OURS) == ("of a data base", "of a sheet", "for an office", True)
"""


@dataclass
class Repository:
    folder: Path

    def write(self, name, text):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, *args):
        """Exit code and output of `python -m pytest` in it."""
        return Fork("pytest", "-ra", "-p", "no:cacheprovider", *args, folder=self.folder).communicate()

    def run_anew(self, *args):
        """By a new interpreter, as for what is said or done while it imports."""
        command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *args]
        path = os.pathsep.join([str(ROOT / "src"), str(self.folder)])
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    @property
    def results(self):
        return read(self.folder / "reports" / "latest" / "results.json")

    @property
    def rows(self):
        shown = json.loads(self.results.to_json())["cells"]
        return [{key: value for key, value in row.items() if key not in ("seconds", "reason")} for row in shown]

    def verdicts(self, role="candidate"):
        return {cell.label: cell.verdict for cell in self.results.cells if cell.role == role}


@pytest.fixture
def repository(tmp_path, tmp_path_factory, monkeypatch):
    """With the models of its own beside the tests; all share a store."""
    monkeypatch.setenv("COLUMNS", "300")
    made = Repository(tmp_path / "theirs")
    made.write("conftest.py", CONFTEST)
    made.write("pytest.ini", "[pytest]\nrobustness_suite = night.toml\n")
    made.write("night.toml", SUITE.format(floor=0.1))
    made.write("models/__init__.py", "OURS = True\n")
    made.write("tests/test_robust.py", ROBUST)
    made.write("tests/test_other.py", OTHER)
    (made.folder / "reports").mkdir()
    store = tmp_path_factory.getbasetemp() / "their-store"
    store.mkdir(exist_ok=True)
    (made.folder / "reports" / "store").symlink_to(store)
    return made


def test_tests_of_ones_own_are_reported_under_ones_own_root(repository):
    code, said = repository.run_anew("tests", "-W", "error")
    assert code == 0, said
    assert "robustness: suite night on cpu" in said
    assert "4 passed" in said
    assert repository.verdicts() == {"night": "pass", "bim 8/255": "not gated"}
    assert repository.verdicts("supervised") == {"night": "baseline"}
    (own,) = [cell for cell in repository.results.cells if cell.label == "bim 8/255"]
    assert own.test == "tests/test_robust.py::test_mine[mini:clip]"
    assert own.reason == f"no rule judges it, but {own.test} by its own assert: passed"
    (repository.folder / "tests" / "deep").mkdir()
    rows = repository.rows
    code, said = repository.run("tests/test_robust.py", "-n", "2")
    assert code == 0, said
    assert "robustness: suite night on cpu" in said
    assert repository.rows == rows


def test_ids_like_those_of_cells_are_no_cells(repository):
    """xdist tells the process that writes the reports nothing of a test but its id."""
    repository.write(
        "tests/test_named.py",
        "import pytest\n@pytest.mark.parametrize('name', ['mini:clip-night'])\ndef test_unrelated(name): pass\n",
    )
    repository.write(
        "tests/test_robust.py",
        ROBUST + "\n@pytest.mark.parametrize('condition', ['night'])\n"
        "def test_both(session, candidate, condition): session.evaluate(candidate, condition)\n",
    )
    code, said = repository.run("tests/test_named.py", "-n", "1")
    assert code == 0, said
    assert "robustness" not in said
    code, said = repository.run("tests", "-n", "2", "-k", "unrelated or both")
    assert code == 0, said
    assert repository.verdicts() == {"night": "not gated"}


@pytest.mark.parametrize("how", [("-k", "unrelated"), ("tests/test_other.py", "-n", "1"), ("--collect-only",)])
def test_without_tests_of_ours_there_is_neither_a_header_nor_a_report(repository, how):
    """A suite of 500 tests of theirs is not slowed down by models that nobody asks for."""
    code, said = repository.run_anew(*how)
    assert code == 0, said
    assert "torch is not loaded" in said
    assert "robustness:" not in said
    assert "robustness, suite" not in said
    assert not (repository.folder / "reports" / "latest").exists()
    if how == ("--collect-only",):
        assert "<Function test_night[mini:clip-night]>" in said
        assert "<Function test_mine[mini:clip]>" in said


def test_failures_are_a_sentence_each_and_failed_rows(repository):
    repository.write("night.toml", SUITE.format(floor=0.99))
    repository.write(
        "tests/test_robust.py",
        ROBUST + "    assert outcomes.correct.mean() > 0.99\n\n@pytest.mark.natural\n"
        "def test_bare(result):\n    assert result.passed\n",
    )
    code, said = repository.run("tests/test_robust.py")
    assert code == 1, said
    assert repository.verdicts() == {"night": "fail", "bim 8/255": "fail"}
    reasons = {cell.label: cell.reason for cell in repository.results.cells if cell.role == "candidate"}
    assert "is below 99.0 points" in reasons["night"]
    for test in ("test_night", "test_bare"):
        assert (
            f"FAILED tests/test_robust.py::{test}[mini:clip-night] - DoesNotHoldError: {reasons['night'][:20]}" in said
        )
    assert "assert False" not in said
    assert "of 24 correct)" in said
    assert max(map(len, said.splitlines())) < 400
    assert reasons["bim 8/255"].startswith("tests/test_robust.py::test_mine[mini:clip] fails: ")


def test_what_is_wrong_in_a_test_is_said_in_a_sentence(repository):
    repository.write(
        "tests/test_robust.py",
        "import pytest\nfrom clip_robustness.fixtures.session import session\n"
        "def test_name(session, candidate): session.evaluate(candidate, 'nihgt')\n"
        "def test_model(session): session.evaluate('mini:clop', 'night')\n"
        "def test_data(session, candidate): session.evaluate(candidate, 'imagenet-a')\n"
        "@pytest.mark.overlap\ndef test_none(result): assert result.passed\n",
    )
    code, said = repository.run("tests/test_robust.py")
    assert code == 1, said
    assert "'nihgt' is no condition, and no data set under [data] in" in said
    assert "did you mean 'night'?" in said
    assert "model 'mini:clop' is none of this run's; did you mean 'mini:clip'?" in said
    assert 'not run: no data: add imagenet-a = "/path/to/imagenet-a" under [data]' in said
    assert "suite 'night' has no condition of overlap" in said
    assert "2 failed, 2 skipped" in said
    repository.write("tests/test_robust.py", "def test_unmarked(result): assert result.passed\n")
    code, said = repository.run("tests/test_robust.py")
    assert code == 2
    assert "test_unmarked asks for `result`: mark it with a family: clean, natural," in said


PLAYWRIGHT = """
def pytest_addoption(parser):
    parser.getgroup("playwright").addoption("--device", default=None)
"""


def test_beside_other_plugins(repository, tmp_path):
    """pytest-playwright has a --device, too; pytest-randomly is not switched off here."""
    repository.write("plugins/like_playwright.py", PLAYWRIGHT)
    flaky = "    TRIED.append(1)\n    assert len(TRIED) > 1\n    assert session.classifier"
    repository.write("tests/test_robust.py", "TRIED = []\n" + ROBUST.replace("    assert session.classifier", flaky))
    code, said = repository.run(
        "-p", "like_playwright", "-o", "pythonpath=plugins", "--robustness-device=cpu", "--device=iPhone", "--reruns=1",
        "--html=theirs.html",
    )  # fmt: skip
    assert code == 0, said
    assert "1 rerun" in said
    assert "--randomly-seed=" in said
    assert repository.verdicts() == {"night": "pass", "bim 8/255": "not gated"}
    assert "test_night" in (repository.folder / "theirs.html").read_text()


@pytest.mark.parametrize(
    ("suite", "says", "workers"),
    [
        ("classes = [", "night.toml: not valid TOML", ()),
        ("classes = [", "night.toml: not valid TOML", ("-n", "1")),
        ('plugins = ["no.py"]' + SUITE.format(floor=0.1), "no.py: there is no such Python file", ()),
        (SUITE.format(floor=0.1).replace("mini:clip", "timm:resnet50@no.pt"), "no.pt", ()),
    ],
)
def test_a_suite_that_can_not_be_read_stops_only_runs_that_need_it(repository, suite_run, suite, says, workers):
    repository.write("night.toml", suite)
    repository.write("tests/test_other.py", "def test_unrelated(): pass\n")
    given = ["-c", str(repository.folder / "pytest.ini"), f"--rootdir={repository.folder}", *workers]
    run = suite_run(*given, str(repository.folder / "tests"), "-k", "unrelated")
    assert run.code == 0, run.output
    (line,) = [line for line in run.output.splitlines() if says in line]
    assert line.startswith("robustness: warning: ")
    run = suite_run(*given, str(repository.folder / "tests"), "-k", "mine")
    assert run.code == 4, run.output
    (line,) = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert says in line
