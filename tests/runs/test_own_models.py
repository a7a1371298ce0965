"""Kinds of models that others registered: in plugin files of a suite and in installed packages."""

import json
import re

import pytest

from clip_robustness import models, registry
from clip_robustness.__main__ import main
from clip_robustness.datasets.classes import class_list
from clip_robustness.models import InputError
from clip_robustness.models import code as slicing
from clip_robustness.suites.listing import listed
from tests.runs.test_plugins import package, plugin  # noqa: F401

pytestmark = pytest.mark.usefixtures("nothing_registered")
MINI = class_list("mini")
FILE = """
from clip_robustness import load_model, model

@model("ours", form="NAME", about="models of our lab", zero_shot=True)
def ours(spec, classes, device):
    classifier = load_model(f"mini:{spec.name}", classes, device)
    classifier.name = spec.text
    return classifier
"""
SUITE = """
classes = "mini"
candidate = ["night=ours:clip@weights.pt?precision=fp32"]
supervised = ["mini:supervised"]
samples = 24
plugins = ["shifts_of_mine.py"]
[data]
imagenet = "mini:imagenet"
[conditions]
"""


def test_a_kind_of_models_of_a_plugin_file(plugin):  # noqa: F811
    registry.load_file(plugin(FILE))
    spec = models.parse("ours:clip?depth=3")
    assert (spec.kind, spec.name, spec.given, spec.zero_shot) == ("ours", "clip", (("depth", "3"),), True)
    found, shallow = models.load(spec, MINI), models.load("ours:clip?depth=2", MINI)
    assert (found.name, found.classes) == ("ours:clip?depth=3", MINI)
    assert len({found.fingerprint, shallow.fingerprint, models.load("mini:clip", MINI).fingerprint}) == 3
    before = found.code
    assert before == models.code_version(before.partition("@")[2])  # as the store asks
    registry.forget()
    registry.load_file(plugin(FILE + "\nDEPTH = 1\n"))
    slicing._module.cache_clear()
    assert models.load(spec, MINI).code != before


def test_a_kind_of_models_in_a_run(suite_run, toml, plugin, tmp_path):  # noqa: F811
    plugin(FILE)
    (tmp_path / "weights.pt").write_bytes(b"")
    run = suite_run(f"--suite={toml(SUITE)}")
    assert run.code == 0, run.output
    models_of = json.loads((run.report_dir / "results.json").read_text())["models"]
    (described,) = [model for model in models_of if model["role"] == "candidate"]
    assert (described["model"], described["spec"]) == ("night", "ours:clip@weights.pt?precision=fp32")


def test_a_kind_of_models_of_an_installed_package(package):  # noqa: F811
    package("labmodels", FILE, ("ours", "ours"), kind="model")
    (entry,) = [e for e in listed(["models"]) if e.origin == "labmodels 1.2"]
    assert (entry.name, entry.about) == ("ours:NAME", "models of our lab")
    assert models.parse("ours:clip").zero_shot
    assert models.load("ours:clip", MINI).code.endswith("@python:labmodels")


def refused(file):
    registry.load_file(file)
    models.load("ours:clip", MINI)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("ours", "timm"), "model 'timm' of .*: the name is taken by the suite itself; rename one"),
        (("ours", "preset"), "model 'preset' of .*: the name is a prefix, without a colon and not 'preset'; choose"),
        (("return classifier", "return 1"), "'ours:clip': the factory must return a Classifier, not int"),
        (("return classifier", "1 / 0"), "'ours:clip': ZeroDivisionError: division by zero; it is made by .*mine.py"),
    ],
)
def test_kinds_that_are_refused(plugin, change, says):  # noqa: F811
    with pytest.raises(InputError, match=says):
        refused(plugin(FILE.replace(*change)))


def test_an_unknown_kind_gets_the_nearest_of_all(plugin):  # noqa: F811
    registry.load_file(plugin(FILE))
    with pytest.raises(InputError, match=r"it must start with .*ours:.*; did you mean 'ours'"):
        models.parse("our:clip")


def test_a_package_whose_kind_does_not_import(package, toml, capsys):  # noqa: F811
    package("broken", "import nothing_of_this_name\n", ("ours", "ours"), kind="model")
    says = "model 'ours': broken 1.2 does not import: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    with pytest.raises(InputError, match=re.escape(says)):
        models.load("ours:clip", MINI)
    text = SUITE.replace("night=ours:clip@weights.pt?precision=fp32", "ours:clip").replace('"shifts_of_mine.py"', "")
    assert main(["validate", toml(text)]) == 4
    assert says in capsys.readouterr().err
