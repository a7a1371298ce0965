"""Paths as users write them."""

import re

import pytest

from clip_robustness import suites
from clip_robustness.datasets.classes import class_list
from clip_robustness.files import expanded
from clip_robustness.models import InputError, parse
from clip_robustness.models.templates import read_prompts
from clip_robustness.overlap.sources import find


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLACE", "elsewhere")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("x", "{}/x"),
        ("/x", "/x"),
        ("~/x", "{}/home/x"),
        ("$PLACE/x", "{}/elsewhere/x"),
        ("${{PLACE}}s/x", "{}/elsewheres/x"),
        ("a$PLACE", "{}/aelsewhere"),
        ("$HOME/x", "{}/home/x"),
        ("100$", "{}/100$"),
        ("a~/x", "{}/a~/x"),
    ],
)
def test_variables_and_homes(tmp_path, written, meant):
    assert str(expanded(written.format(), tmp_path)) == meant.format(tmp_path)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("$NOWHERE/x", r"path '\$NOWHERE/x': \$NOWHERE is not set; write the path in full"),
        ("${NOWHERE}", r"\$NOWHERE is not set"),
        ("$EMPTY/x", r"\$EMPTY is not set"),
        ("~nosuchuser/x", "path '~nosuchuser/x': there is no such home; write the path in full"),
        ("a" * 5000, "path 'a{40}…': it is longer than file systems allow"),
        ("a\udcff", "path 'a\udcff': its name is not in UTF-8; rename it"),
    ],
)
def test_what_stands_for_nothing_is_named(written, says):
    with pytest.raises(InputError, match=says):
        expanded(written)


def test_a_folder_that_exists_is_meant_as_it_is_written(tmp_path):
    (tmp_path / "$NOWHERE").mkdir()
    assert expanded("$NOWHERE", tmp_path) == tmp_path / "$NOWHERE"


SUITE = 'candidate = ["mini:clip"]\n[data]\nimagenet = "{}"\n[conditions]\n'


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("$PLACE/val", "{}/elsewhere/val"),
        ("wds:$PLACE/{{0..9}}.tar", "wds:{}/elsewhere/{{0..9}}.tar"),
        ("wds:a.tar::~/b.tar::https://host/$c.tar", "wds:{}/a.tar::{}/home/b.tar::https://host/$c.tar"),
        ("hf:$PLACE/table?split=test", "hf:{}/elsewhere/table?split=test"),
        ("hf:table?split=test", "hf:{}/table?split=test"),
        ("hf:table2?split=test", "hf:table2?split=test"),
    ],
)
def test_data_of_a_suite(toml, tmp_path, written, read):
    """A relative table that is there is that folder, not a name on the hub."""
    (tmp_path / "table").mkdir()
    suite = suites.load(toml(SUITE.format(written.format())))
    assert suite.source("imagenet") == read.format(tmp_path, tmp_path)


@pytest.mark.parametrize("line", ['imagenet = "$NOWHERE/val"', 'imagenet = "wds:~nosuchuser/0.tar"'])
def test_a_suite_whose_data_can_not_be_named_is_refused(toml, line):
    file = toml(SUITE.replace('imagenet = "{}"', line))
    with pytest.raises(InputError, match=r"suite\.toml: 'data\.imagenet': path '.*write the path in full"):
        suites.load(file)


def test_files_of_models_and_of_the_overlap(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path))
    (tmp_path / "x.pt").touch()
    (tmp_path / "names.txt").touch()
    (tmp_path / "open_clip_config.json").touch()
    spec = parse("open_clip:RN50@$PLACE/x.pt?class_names=${PLACE}/names.txt")
    assert (spec.file, spec.options.class_names) == (tmp_path / "x.pt", str(tmp_path / "names.txt"))
    assert parse("open_clip:local-dir:$PLACE").name == f"local-dir:{tmp_path}"
    with pytest.raises(InputError, match=r"\$NOWHERE is not set"):
        parse("open_clip:RN50@$NOWHERE/x.pt")
    with pytest.raises(InputError, match="there is no such home"):
        find("~nosuchuser")


def test_class_lists_and_prompts_of_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "prompts.txt").write_text("a photo of a {}\n")
    assert class_list("$PLACE/names.txt").keys == ("cat", "dog")
    assert len(read_prompts("${PLACE}/prompts.txt").templates) == 1


OPTIONS = ("suite", "profile", "candidate", "supervised", "report-dir", "history", "costs", "exclude-overlap")
LONG, NAME, BYTES, LINES = "a/" * 2500, "a" * 300, "/x\udcff", "/x\n::error::y"
BAD = [(option, path) for option in OPTIONS for path in ("~nosuchuser/x", LONG, BYTES)]
BAD += [("compare", LONG), ("compare", LINES), *((option, path) for option in OPTIONS[:4] for path in (NAME, LINES))]


@pytest.mark.parametrize(("option", "path"), BAD, ids=[f"{option} {ascii(path)[:14]}" for option, path in BAD])
def test_bad_paths_in_options_are_one_sentence(run_here, option, path):
    """Those that no file system has, that is, and those that would be a command in the log of a CI job."""
    given = f"open_clip:RN50@{path}" if option in ("candidate", "supervised") else path
    run = run_here(f"--{option}={given}", "-k", "nothing")
    assert run.code == 4, run.output
    (said,) = (line for line in run.output.splitlines() if line.startswith("ERROR: "))
    assert len(said) < 2000
    assert not re.search(r"^\s*::error::", run.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            "--costs=gone.json",
            "gone.json: there is no such file or folder; give the results.json of an earlier",
        ),
        ("--exclude-overlap=gone.json", "gone.json: can't be read as JSON (there is no such file or folder); "),
        ("--device=gpu", "--device gpu: torch has no such device; give auto, cpu, cuda, cuda:1 or mps"),
    ],
)
def test_options_that_name_nothing_are_told_before_the_run(run_here, option, says):
    found = run_here(option, "--samples=2", "-k", "clean")
    assert (found.code, says in found.output) == (4, True), found.output
    assert "Errno" not in found.output
