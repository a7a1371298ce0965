"""Kinds of conditions that others register whole: named in a suite, run, kept under their code, and refused."""

import numpy as np
import pytest
import torch

from clip_robustness import models, registry, suites
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.conditions.ids import condition_of
from clip_robustness.conditions.kinds import of_kind
from clip_robustness.conditions.registered import check_condition
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.errors import InputError
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.data import mini_folder
from clip_robustness.suites.listing import listed

MINI = class_list("mini")
FILE = """
from clip_robustness import condition
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import predict

@condition("glare", params={"level": (1, 3), "side": ("left", "right")}, source="Doe 2025", about="too much light")
def glare(source):
    image, half = source.clean(), source.side // 2
    part = slice(None, half) if source.condition["side"] == "left" else slice(half, None)
    image[:, part] = 255 - (255 - image[:, part]) // (1 + 40 * source.condition["level"])
    return image

@condition("first-class", runner="always_first")
def untouched(source):
    return source.clean()

def always_first(context, batches):
    for batch in batches:
        yield [(sample, Prediction(0)) for sample, _ in batch]
"""
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
plugins = ["kinds_of_mine.py"]
[data]
imagenet = "mini:imagenet"
[conditions]
kinds = [{ name = "glare", side = "left", samples = 12 }, { name = "first-class" }]
"""


pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture
def plugin(tmp_path):
    def write(text=FILE):
        registry.forget()
        (tmp_path / "kinds_of_mine.py").write_text(text)
        registry.load_file(tmp_path / "kinds_of_mine.py")

    return write


def test_a_suite_names_them_by_their_parameters(toml, plugin):
    plugin()
    suite = suites.load(toml(SUITE))
    paths = ["synthetic/glare-1-left", "synthetic/glare-3-left", "synthetic/first-class"]
    assert [c.path for c in suite.conditions] == ["clean/clean", *paths]
    assert [c.samples for c in suite.conditions] == [None, 12, 12, None]
    for condition in (*suite.conditions, *of_kind("glare")):
        assert condition_of(condition.id) == condition
    (entry,) = [entry for entry in listed(["conditions"], suite) if entry.name == "glare"]
    assert (entry.about, entry.source) == ("too much light; level 1, 3; side left, right", "Doe 2025")
    assert entry.origin.endswith("kinds_of_mine.py")


def test_their_outcomes_are_kept_under_their_code(tmp_path, plugin):
    plugin()
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 24, seed=0)
    victim, store = models.load("mini:clip", MINI), Store(tmp_path / "store")
    conditions = [CLEAN, *of_kind("glare", {"level": [3], "side": ["left"]}), *of_kind("first-class")]

    def outcomes():
        return [Evaluator(store, device=torch.device("cpu"))(victim, c, images) for c in conditions]

    clean, glare, first = outcomes()
    assert not np.array_equal(glare.predictions, clean.predictions)
    assert set(first.predictions) == {0}
    before = set(store.cells())
    plugin(FILE.replace("40 *", "0 *"))
    clean_again, dark, _ = outcomes()
    assert len(set(store.cells()) - before) == 2, "those of the file, and not the clean ones"
    assert np.array_equal(clean_again.predictions, clean.predictions)
    assert not np.array_equal(dark.predictions, glare.predictions)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ('name = "glare"', 'name = "glaer"'),
            "'conditions.kinds', table 1: condition 'glaer' is unknown",
        ),
        (('side = "left"', 'sdie = "left"'), "condition 'glare' has no parameter 'sdie'; did you mean 'side'"),
        (('side = "left"', "level = [1, 2]"), "condition 'glare' has no level 2; it has 1, 3"),
    ],
)
def test_a_suite_that_names_what_they_do_not_have(toml, plugin, change, says):
    plugin()
    with pytest.raises(InputError) as error:
        suites.load(toml(SUITE.replace(*change)))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"glare"', '"imagenet-c"'), "the name is taken by the suite itself"),
        (('"glare"', '"bim"'), "the name is taken by the suite itself"),
        (('source="Doe 2025"', 'sourec="Doe 2025"'), "unexpected keyword argument 'sourec'"),
        (('source="Doe 2025"', 'family="adversarial"'), "its family is natural or synthetic, not 'adversarial'"),
        (('params={"level": (1, 3), "side": ("left", "right")}', "params=3"), "params give each name its values"),
        (("return image", "return image[::2]"), r"returns uint8 (32, 64, 3); return an array of uint8 (64, 64, 3)"),
        (("return image", "return image / 255"), "returns float64 (64, 64, 3)"),
        (("return image", "import random; return image // random.randint(1, 200)"), "draw from source.rng alone"),
        (("source.clean(), source.side", "source.claen(), source.side"), "glare-1-left: AttributeError"),
    ],
)
def test_what_is_refused(plugin, change, says):
    plugin(FILE.replace(*change))
    name = change[1].strip('"') if change[0] == '"glare"' else "glare"
    with pytest.raises(InputError) as error:
        check_condition(next(of_kind(name)))
    assert says in str(error.value)
