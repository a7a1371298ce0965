"""The reports beside other plugins and pytest's own ways to select, rerun and stop."""

import json
import os
import pty
import re
import xml.etree.ElementTree as ET

import pytest

from clip_robustness.results.results import read
from tests.conftest import run_pytest
from tests.forks import Fork

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 8
[data]
imagenet = "mini:imagenet"
[conditions]
imagenet-c = { corruptions = ["fog", "contrast"], severities = [1] }
attacks = { names = ["fgsm"], eps = ["2/255", "8/255"] }
[[rules]]
match = "adversarial/fgsm-8*"
min_accuracy = 0.99
"""
CELLS = ["clean", "contrast 1", "fog 1", "fgsm 2/255", "fgsm 8/255"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All runs share a store: what is computed once is known to the others."""
    folder = tmp_path_factory.mktemp("cooperation")
    (folder / "suite.toml").write_text(SUITE)
    return folder


@pytest.fixture
def run(folder, tmp_path, request):
    def start(*args, hooks=""):
        """`hooks` is a conftest-like plugin of the test."""
        plugin = f"hooks_{abs(hash(request.node.name))}"
        (tmp_path / f"{plugin}.py").write_text(hooks)
        own = ["-p", plugin, "-o", f"pythonpath=. {tmp_path}", "-o", f"cache_dir={folder / 'cache'}"]
        report_dir = folder / "reports" / request.node.name
        return run_pytest(report_dir, f"--suite={folder / 'suite.toml'}", *own, *args)

    return start


@pytest.fixture(scope="module")
def alone(folder):
    return run_pytest(folder / "reports" / "alone", f"--suite={folder / 'suite.toml'}")


def figures(run):
    return [{k: v for k, v in cell.items() if k != "seconds"} for cell in run.cells if cell["accuracy"] is not None]


def verdicts(run):
    return {
        " ".join([c["condition"].removeprefix("imagenet-c"), *map(str, c["params"].values())]).strip(): c["verdict"]
        for c in run.cells
        if c["role"] == "candidate"
    }


def test_pytest_html(run, alone, tmp_path):
    found = run(f"--html={tmp_path / 'other.html'}", "--self-contained-html")
    assert found.code == 1, found.output
    assert figures(found) == figures(alone)
    assert "test_attack[mini:clip-fgsm-8/255]" in (tmp_path / "other.html").read_text()


def test_pytest_json_report(run, alone, tmp_path):
    found = run("--json-report", f"--json-report-file={tmp_path / 'other.json'}")
    assert figures(found) == figures(alone)
    assert len(json.loads((tmp_path / "other.json").read_text())["tests"]) == len(CELLS)


def test_allure(run, alone, tmp_path):
    found = run(f"--alluredir={tmp_path / 'allure'}")
    assert figures(found) == figures(alone)
    assert len(list((tmp_path / "allure").glob("*-result.json"))) == len(CELLS)


def test_reruns_stand_once(run, alone, tmp_path):
    """In pytest's own JUnit file that plugin writes a case a try, each with the figures once."""
    found = run("--reruns=2", f"--junitxml={tmp_path / 'own.xml'}", "-k", "fgsm-8")
    assert "2 rerun" in found.output
    assert [cell["verdict"] for cell in found.cells] == ["fail", "baseline"]
    assert len(list(ET.parse(found.report_dir / "junit.xml").iter("testcase"))) == 1
    for case in ET.parse(tmp_path / "own.xml").iter("testcase"):
        names = [p.get("name") for p in case.iter("property")]
        assert names.count("accuracy") == 1
        assert len(names) == len(set(names))


def test_shuffled_tests_give_the_same_rows(run, alone):
    found = run("-p", "randomly")
    assert "--randomly-seed=" in found.output
    assert figures(found) == figures(alone)


def test_without_a_cache(run, alone):
    found = run("-p", "no:cacheprovider")
    assert figures(found) == figures(alone)


def test_last_failed_reports_these_alone(run):
    run("-p", "cacheprovider")
    found = run("-p", "cacheprovider", "--lf")
    assert verdicts(found) == {"fgsm 8/255": "fail"}
    assert read(found.report_dir / "results.json").partial == "1 of 5 cells selected."


@pytest.mark.parametrize("how", ["-x", "--maxfail=1"])
def test_stopping_at_the_first_failure_leaves_a_partial_report(run, how):
    found = run(how)
    assert found.code == 1
    assert verdicts(found) == dict.fromkeys(CELLS, "not run") | {"fgsm 2/255": "not gated", "fgsm 8/255": "fail"}
    assert "The run ended early (stopping after 1 failures): 3 of 5 cells were not run." in found.output
    assert "This report is partial." in (found.report_dir / "report.html").read_text()


INTERRUPTING = """
import os, signal
def pytest_configure(config): global here; here = not hasattr(config, "workerinput")
def pytest_runtest_logreport(report):
    if here and report.when == "teardown": os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_an_interrupted_run_leaves_a_partial_report(run, workers):
    found = run(*workers, hooks=INTERRUPTING)
    assert found.code == 2, found.output
    measured = [verdict for verdict in verdicts(found).values() if verdict != "not run"]
    assert 1 <= len(measured) < len(CELLS)
    says = f"The run was interrupted: {len(CELLS) - len(measured)} of {len(CELLS)} cells were not run."
    assert says in found.output
    for view in ("report.html", "summary.md"):
        assert says in (found.report_dir / view).read_text()


CRASHING = """
import os
def pytest_runtest_setup(item):
    if "fgsm-2" in item.name: os._exit(9)
"""


def test_cells_of_a_crashed_worker_are_shown_as_not_run(run):
    found = run("-n", "1", hooks=CRASHING)
    assert found.code == 1, found.output
    assert verdicts(found)["fgsm 2/255"] == "not run"
    assert verdicts(found)["fgsm 8/255"] == "fail"
    assert "1 of 5 cells were not run" in (found.report_dir / "summary.md").read_text()


def test_pytests_own_junit_file_has_the_figures_and_may_take_the_place_of_ours(run, folder, request):
    """No file has a cell twice."""
    ours = folder / "reports" / request.node.name / "junit.xml"
    found = run(f"--junitxml={ours}", "-k", "fgsm-2")
    cases = list(ET.parse(ours).iter("testcase"))
    assert [case.get("name") for case in cases] == ["test_attack[mini:clip-fgsm-2/255]"]
    names = [p.get("name") for p in cases[0].iter("property")]
    assert {"accuracy", "ci_low", "ci_high", "n", "baseline", "difference", "eps", "verdict"} <= set(names)
    assert len(names) == len(set(names))
    assert "report.html" in found.output


def test_quiet_and_verbose(run):
    usual, quiet, silent, verbose = run(), run("-q"), run("-qq"), run("-v")
    assert "imagenet-c fog 1" in usual.output
    assert "cells.csv" in usual.output
    assert "fgsm 8/255" in quiet.output
    assert "imagenet-c fog 1" not in quiet.output
    assert "fgsm 8/255  " not in silent.output
    for found in (usual, quiet, silent, verbose):
        assert "The gate fails in 1 of 5 cells" in found.output
        assert "report.html" in found.output
    assert "supervised" in verbose.output.partition("robustness, suite")[2]


SLOWLY = """
import time
from clip_robustness.fixtures import progress
progress._SILENT, progress._POLL = 0, 0.05
from clip_robustness.evaluation.store import Store
add = Store.add
def slowly(self, *args): add(self, *args); time.sleep(0.2)
Store.add = slowly
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_terminal_shows_how_far_long_cells_are(folder, tmp_path, workers):
    (tmp_path / "slowly.py").write_text(SLOWLY)
    ours, theirs = pty.openpty()
    running = Fork(
        "pytest", "-p", "no:cacheprovider", "-p", "slowly", "-o", f"pythonpath=. {tmp_path}", "--batch-size=2",
        f"--suite={folder / 'suite.toml'}", f"--report-dir={tmp_path / 'run'}", "-k", "clean", *workers,
        terminal=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert running.wait() == 0, said.decode()
    assert re.search(rb"clean mini:clip [246]/8, \d+\.\d% \[.*\], \S+ images/s, .* left", said), said.decode()
    assert b"\x1b[2K\x1b[A" in said, "the line is not cleared at the end"
