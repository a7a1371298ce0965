"""Readers of data sets that others registered: in plugin files of a suite and in installed packages."""

import pytest
import torch

from clip_robustness import models, registry, suites
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.load import load
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError
from clip_robustness.suites.listing import listed
from tests.runs.test_plugins import package, plugin  # noqa: F401

pytestmark = pytest.mark.usefixtures("nothing_registered")
MINI = class_list("mini")
FILE = """
from pathlib import Path

from clip_robustness import dataset
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.records import Records

@dataset("names", form="FOLDER", about="images that are called by their class")
def named(data, place, space, classes):
    files = sorted(Path(place).iterdir())
    samples = tuple(Sample(file.name, file, -1) for file in files)
    return Records(place, samples, tuple((file.name.partition("-")[0],) for file in files))
"""
PLACES = """
@dataset("places")
def numbered(data, place, space, classes):
    file = next(Path(place).iterdir())
    return Dataset("", tuple(Sample(id, file, label) for id, label in (("b", 1), ("a", 0))))
"""
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
plugins = ["shifts_of_mine.py"]
[data]
imagenet = "names:./photos"
[conditions]
"""


@pytest.fixture
def photos(tmp_path):
    """Pictures of two classes, one folder for all."""
    (tmp_path / "photos").mkdir()
    for key in MINI.keys[:2]:
        for number, file in enumerate(sorted((mini_folder("imagenet") / key).iterdir())[:6]):
            (tmp_path / "photos" / f"{MINI.names[MINI.keys.index(key)]}-{number}.png").write_bytes(file.read_bytes())
    return tmp_path / "photos"


def test_records_are_labelled_by_what_they_are_called(plugin, photos):  # noqa: F811
    registry.load_file(plugin(FILE))
    images = load("night", f"names:{photos}", MINI)
    assert [sample.label for sample in images.samples] == [0] * 6 + [1] * 6
    assert images.samples[0].id == f"{MINI.names[0]}-0.png"


def test_a_data_set_has_labels_in_its_space(plugin, photos):  # noqa: F811
    registry.load_file(plugin(FILE + PLACES))
    images = load("night", f"places:{photos}", MINI)
    assert [(sample.id, sample.label) for sample in images.samples] == [("a", 0), ("b", 1)]
    assert (images.name, len(images.space)) == ("night", len(MINI))


def test_outcomes_are_kept_under_the_readers_code(plugin, photos, tmp_path):  # noqa: F811
    model = models.load("mini:clip", MINI)
    evaluate = Evaluator(Store(tmp_path / "store"), device=torch.device("cpu"))
    missing = []
    for text in (FILE, FILE, FILE + "\nX = 1\n"):
        registry.forget()
        registry.load_file(plugin(text))
        images = load("night", f"names:{photos}", MINI)
        missing.append(len(evaluate.missing(model, CLEAN, images)))
        evaluate(model, CLEAN, images)
    assert missing == [12, 0, 12]


def test_a_reader_in_a_run(suite_run, toml, plugin, photos):  # noqa: F811
    plugin(FILE)
    run = suite_run(f"--suite={toml(SUITE)}")
    assert run.code == 0, run.output
    assert {cell["n"] for cell in run.cells} == {12}


def test_a_reader_of_an_installed_package(package, photos):  # noqa: F811
    package("labdata", FILE, ("names", "named"), kind="dataset")
    (entry,) = [e for e in listed(["data"]) if e.origin == "labdata 1.2"]
    assert (entry.name, entry.about) == ("names:FOLDER", "images that are called by their class")
    assert load("night", f"names:{photos}", MINI).reader.startswith("labdata 1.2 ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"names"', '"wds"'), "dataset 'wds' of .*: the name is taken by the suite itself; rename one"),
        (('"names"', '"mini"'), "dataset 'mini' of .*: the name is a prefix, without a colon and not 'mini'; choose"),
        (("return Records", "return len"), "'night': names:.*: TypeError: len.*; it is read by .*mine.py"),
        (("    files =", "    return 1\n    files ="), "mine.py gives a int; return a Dataset or Records"),
    ],
)
def test_readers_that_are_refused(plugin, photos, change, says):  # noqa: F811
    def refused(file):
        registry.load_file(file)
        load("night", f"names:{photos}", MINI)

    with pytest.raises(InputError, match=says):
        refused(plugin(FILE.replace(*change)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('("a", 0)', '("a", 999)'), r"mine.py gives a the label 999; labels are places in its \d+ classes"),
        (('("a", 0)', '("b", 0)'), r"mine.py gives several images one id \(first: b\)"),
        (('(("b", 1), ("a", 0))', "()"), "mine.py gives no images"),
    ],
)
def test_data_sets_that_are_refused(plugin, photos, change, says):  # noqa: F811
    registry.load_file(plugin(FILE + PLACES.replace(*change)))
    with pytest.raises(InputError, match=says):
        load("night", f"places:{photos}", MINI)


def test_an_unknown_prefix_gets_the_nearest_of_all(plugin, toml):  # noqa: F811
    plugin(FILE)
    with pytest.raises(InputError, match="and 'name:' is no reader; did you mean 'names'"):
        suites.load(toml(SUITE.replace("names:", "name:")))
    with pytest.raises(InputError, match="and 'wd:' is no reader; did you mean 'wds'"):
        load("night", "wd:x.tar", MINI)


def test_a_package_whose_reader_does_not_import(package):  # noqa: F811
    package("broken", "import nothing_of_this_name\n", ("names", "named"), kind="dataset")
    with pytest.raises(InputError, match=r"dataset 'names': broken 1\.2 does not import: ModuleNotFoundError"):
        load("night", "names:x", MINI)
