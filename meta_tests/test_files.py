"""Paths as users write them."""

import pytest

import suites
from models import InputError, parse
from models.classes import class_list
from models.files import expanded
from models.templates import read_prompts
from overlap.sources import find


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
    with pytest.raises(InputError, match=r"suite\.toml: path '.*write the path in full"):
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
