"""What a run says of a model that is a known checkpoint."""

import argparse

import pytest

from clip_robustness import models, suites
from clip_robustness.calibration.command import settings_for
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.datasets.classes import class_list
from clip_robustness.evaluation.session import Session
from clip_robustness.models.spec import parse

SUITE = """
classes = "mini"
figures = "{figures}"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 48
[data]
imagenet = "mini:imagenet"
[conditions]
"""


@pytest.fixture
def run_with(run_here, toml, tmp_path):
    """A run of the clean cell with a figure file; mini:clip gets all 48 images right but one or two."""

    def run(figures):
        (tmp_path / "figures.csv").write_text(figures)
        return run_here(f"--suite={toml(SUITE.format(figures=tmp_path / 'figures.csv'))}")

    return run


def test_a_figure_that_agrees_is_said_at_the_top_of_every_report(run_with):
    first = run_with("model,condition,value,n\nours,clean@mini,0.9,48\n")
    assert "published" not in first.output  # nobody said which model ours is
    weights = models.load("mini:clip", class_list("mini")).weights
    accuracy = first.cell("clean")["accuracy"]
    run = run_with(f"model,condition,value,n,fingerprint\nours,clean@mini,{accuracy},48,{weights}\n")
    said = f"mini:clip is ours, clean: published {100 * accuracy:.1f}, here {100 * accuracy:.1f}"
    assert said in run.output
    assert "of 48: agrees" in run.output
    page = (run.report_dir / "report.html").read_text()
    assert page.index(said) < page.index("<table")
    assert said.partition("published")[2] in (run.report_dir / "summary.md").read_text()


def test_a_figure_that_differs_is_a_warning_at_the_top(run_with):
    weights = models.load("mini:clip", class_list("mini")).weights
    run = run_with(f"model,condition,value,n,fingerprint\nours,clean@mini,0.5,48,{weights}\n")
    assert "warning: mini:clip is ours, but 1 of 1 figures differ from the published ones" in run.output
    assert "clip-robustness calibrate looks for the cause" in (run.report_dir / "report.html").read_text()


def test_other_weights_under_a_known_name_are_warned_of(run_with):
    run = run_with("model,condition,value,n,fingerprint\nmini:clip,clean@mini,0.5,48,0123456789abcdef\n")
    assert "mini:clip: it claims to be mini:clip, but its weights have the fingerprint" in run.output
    assert "figures differ" not in run.output


def test_a_file_of_figures_that_is_wrong_ends_the_run(run_with):
    run = run_with("model,condition,value\nours,clean@mini,63\n")
    assert run.code == 4
    assert "value '63' is outside [0, 1]" in run.output


def test_a_named_subset_is_all_that_a_session_sees(image_folder, toml, tmp_path):
    place = image_folder({"n01440764": 2})
    for number, file in zip((9396, 1), sorted((place / "n01440764").iterdir()), strict=True):
        file.rename(file.with_name(f"ILSVRC2012_val_{number:08d}.JPEG"))
    suite = suites.load(toml(f'subset = "robustbench-5000"\n[data]\nimagenet = "{place}"\n[conditions]\n'))
    options = argparse.Namespace(samples=None, device="cpu", batch_size=1, out=tmp_path / "out")
    images = Session(settings_for(suite, (parse("mini:clip"),), options)).images(CLEAN)
    assert [sample.id for sample in images.samples] == ["n01440764/ILSVRC2012_val_00009396.JPEG"]
    assert any("1 of its 5000 images are there" in warning for warning in images.warnings)
