"""How a run ends: its exit code follows the verdicts, and no report of another run stands for it."""

import re
import xml.etree.ElementTree as ET

import pytest

from clip_robustness.reports import csv, html, junit, markdown, trackers
from clip_robustness.reports.write import FILES
from clip_robustness.results.results import read

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
[conditions]
natural = ["imagenet-v2"]
attacks = { names = ["fgsm"], eps = ["2/255", "8/255"] }
[[rules]]
match = "adversarial/fgsm-8*"
min_accuracy = 0.9
[[rules]]
match = "clean/*"
min_accuracy = 0.1
"""
WEAK = 'known_weakness = "nobody defended it"\n'
CELLS = 4


class AssertsNothing:
    """As under `python -O` or with `--assert=plain`, where a test of a user asserts."""

    def pytest_pyfunc_call(self, pyfuncitem):
        return True


@pytest.fixture
def green(tmp_path):
    """A report folder with an older run's files."""
    folder = tmp_path / "reports" / "run"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("all is well")
    return folder


def says_in_all_views(folder, text):
    assert {file.name for file in folder.iterdir()} == set(FILES)
    assert text in read(folder / "results.json").partial
    for name in ("report.html", "summary.md", "junit.xml"):
        assert text in (folder / name).read_text(), name
    assert not any("all is well" in (folder / name).read_text() for name in FILES)


def is_red(folder):
    root = ET.parse(folder / "junit.xml").getroot()
    return int(root.get("errors")) + int(root.get("failures")) > 0


@pytest.mark.parametrize(("rule", "code"), [("", 1), (WEAK, 0)])
def test_the_verdicts_decide_whatever_the_tests_assert(run_here, toml, rule, code):
    suite = toml(SUITE.replace("min_accuracy = 0.9\n", "min_accuracy = 0.9\n" + rule))
    # without the tests' own word a known weakness is an xfail that passes, which is strict
    asked = ("--suite=" + suite, "-k", "fgsm-8", "--runxfail")
    run = run_here(*asked, hooks=AssertsNothing())
    assert "1 passed" in run.output
    assert run.code == code, run.output


def test_an_improved_weakness_fails_whatever_the_tests_assert(run_here, toml):
    suite = toml(SUITE.replace("min_accuracy = 0.9\n", "min_accuracy = 0.0\n" + WEAK))
    run = run_here("--suite=" + suite, "-k", "fgsm-8", "--runxfail", hooks=AssertsNothing())
    assert "1 passed" in run.output
    assert run.code == 1, run.output
    assert run.cell("fgsm 8/255")["verdict"] == "improved"


@pytest.mark.parametrize("how", ["--assert=plain", "--assert=rewrite"])
def test_a_failure_reads_as_one_sentence(run_here, toml, how):
    run = run_here("--suite=" + toml(SUITE), "-k", "fgsm-8", how)
    assert run.code == 1
    assert "= FAILURES =" not in run.output
    assert run.output.count("is below 90.0 points") == 1
    assert "1 failed" in run.output


def test_a_tracker_that_fails_costs_no_result(run_here, toml, monkeypatch):
    def fails(*_):
        raise OSError("no route")

    monkeypatch.setattr(trackers, "check", lambda name: None)
    monkeypatch.setattr(trackers, "log", fails)
    run = run_here("--suite=" + toml(SUITE), "-k", "clean", "--log", "wandb")
    assert run.code == 0
    assert "--log wandb failed, the reports are complete: OSError: no route" in run.output
    assert len(run.cells) == 2


def test_a_name_that_is_a_part_of_others_says_what_else_it_selects(run_here, toml):
    attacks = 'attacks = { names = ["bim", "transfer-bim", "fgsm"], eps = ["8/255"] }'
    suite = toml(re.sub("attacks = .*", attacks, SUITE))
    said = "-k bim selects transfer-bim, too; without: -k 'bim and not transfer-bim'"
    assert said in run_here("--suite=" + suite, "-k", "bim", "--collect-only").output
    assert "selects" not in run_here("--suite=" + suite, "-k", "fgsm", "--collect-only").output


def test_missing_data_is_no_known_weakness(run_here, toml):
    suite = SUITE.replace("clean/*", "natural/*").replace("min_accuracy = 0.1\n", "min_accuracy = 1.0\n" + WEAK)
    run = run_here("--suite=" + toml(suite), "-k", "imagenet-v2", "--require-all")
    assert run.code == 1
    assert "1 error" in run.output


@pytest.mark.parametrize(
    ("how", "cells"),
    [(("-k", "fgsm-8"), 1), (("-m", "adversarial"), 2), (("--deselect", "robustness_tests/test_adversarial.py"), 2)],
)
def test_a_part_is_called_a_part(run_here, toml, green, how, cells):
    run = run_here("--suite=" + toml(SUITE), *how)
    says_in = [run.output, *((green / name).read_text() for name in ("report.html", "summary.md"))]
    assert all(f"{cells} of {CELLS} cells selected" in text for text in says_in)
    assert read(green / "results.json").partial == f"{cells} of {CELLS} cells selected."
    assert "in all" not in html.render(read(green / "results.json"))


def test_the_whole_is_not_called_a_part(run_here, toml):
    run = run_here("--suite=" + toml(SUITE), "--samples=8")
    results = read(run.report_dir / "results.json")
    assert (results.partial, results.missing, results.unfinished) == ("", (), "")
    assert "partial" not in run.output


def test_shards_lack_what_the_whole_selection_left_out(run_here, toml):
    run = run_here("--suite=" + toml(SUITE), "--shard=1/2", "-k", "not v2")
    assert read(run.report_dir / "results.json").partial == f"3 of {CELLS} cells selected."
    run = run_here("--suite=" + toml(SUITE), "--shard=1/2")
    assert read(run.report_dir / "results.json").partial == ""


@pytest.mark.parametrize("shard", [(), ("--shard=1/2",)])
def test_a_selection_of_nothing_is_red(run_here, toml, green, shard):
    run = run_here("--suite=" + toml(SUITE), "-k", "nothing", *shard)
    assert run.code == 5, run.output
    says_in_all_views(green, f"0 of {CELLS} cells selected.")
    assert is_red(green)


def test_a_model_that_does_not_load_leaves_no_older_report(run_here, toml, green, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    spec = f"open_clip:mini-clip@{tmp_path / 'broken.safetensors'}"
    run = run_here("--suite=" + toml(SUITE), f"--candidate={spec}")
    assert run.code == 4, run.output
    says_in_all_views(green, "The run ended before anything was measured: ")
    assert is_red(green)
    assert "broken.safetensors" in (green / "summary.md").read_text()


def test_nothing_that_was_measured_is_red_for_all_that_reads_junit(run_here, toml, green):
    run = run_here("--suite=" + toml(SUITE), "-k", "imagenet-v2")
    assert run.code == 5
    assert is_red(green)


@pytest.mark.parametrize("how", ["--collect-only", "--explain-gate", "--dry-run", "--setup-plan", "--fixtures"])
def test_what_measures_nothing_leaves_the_reports_alone(run_here, toml, green, how):
    run_here("--suite=" + toml(SUITE), "-k", "clean", how)
    assert all((green / name).read_text() == "all is well" for name in FILES)


def test_interrupted_while_collecting(run_here, toml, green):
    class Interrupts:
        def pytest_collectstart(self):
            raise KeyboardInterrupt

    run = run_here("--suite=" + toml(SUITE), hooks=Interrupts())
    assert run.code == 2
    says_in_all_views(green, "The run was interrupted before anything was measured.")
    assert is_red(green)


@pytest.mark.parametrize(
    ("module", "file"),
    [(html, "report.html"), (junit, "junit.xml"), (markdown, "summary.md"), (csv, "cells.csv")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_view_that_crashes_is_said_and_loses_no_other(run_here, toml, green, monkeypatch, module, file):
    inner = module.render

    def render(results, *args):
        if results if module is csv else results.cells:
            raise ZeroDivisionError("division by zero")
        return inner(results, *args)

    monkeypatch.setattr(module, "render", render)
    run = run_here("--suite=" + toml(SUITE), "-k", "clean")
    assert run.code == 3, run.output
    said = f"{file} could not be made: ZeroDivisionError: division by zero; results.json has all figures"
    assert said in run.output
    assert said in (green / file).read_text() or module is csv
    assert run.cell("clean")["verdict"] == "pass"
    assert is_red(green) == (module is junit)
    assert not any("all is well" in (green / name).read_text() for name in FILES)


@pytest.mark.parametrize(
    "name",
    [
        "results.summary.of_cells",
        "fixtures.environment.described",
        "results.guards.of_cells",
        "verdicts.judge.corrected",
        "results.gallery.collect",
    ],
)
def test_what_crashes_before_the_reports_loses_no_row(run_here, toml, monkeypatch, name):
    def crashes(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(f"clip_robustness.{name}", crashes)
    run = run_here("--suite=" + toml(SUITE), "-k", "clean")
    assert run.code == 3, run.output
    assert "could not be made: ZeroDivisionError" in run.output
    assert {file.name for file in run.report_dir.iterdir()} == set(FILES)
    assert run.cell("clean")["verdict"] == "pass"
