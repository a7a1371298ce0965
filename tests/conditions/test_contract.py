"""What every condition keeps to, whoever made it: the same questions to each in data/every_condition.toml."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from clip_robustness import registry, suites
from clip_robustness.conditions import context
from clip_robustness.conditions.benchmark import CORRUPTIONS, NATURAL, STYLIZED
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.conditions.ids import condition_of
from clip_robustness.datasets.dataset import image_rng
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Settings
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.models.spec import parse
from tests import DATA, small

SUITE = suites.load(str(DATA / "every_condition.toml"))
SIDE = 32
every = pytest.mark.parametrize("condition", SUITE.conditions, ids=lambda condition: condition.id)


def small_model(spec, classes, device):
    """A network for 16 px at 32 px, of which pictures and letters are made that are as coarse."""
    model = small.wrapped(small.load("cnn").net, spec.text, classes)
    model.image_size = SIDE
    model.geometry = lambda image: image.convert("RGB").resize((16, 16)).resize((SIDE, SIDE))
    return model.to(device)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    specs = tuple(parse(text) for text in SUITE.settings.candidate)
    run = tmp_path_factory.mktemp("every") / "reports" / "run"
    surrogate = parse(SUITE.settings.surrogate)
    return Session(Settings(SUITE, specs, (), surrogate, SUITE.settings.samples, 0, "cpu", 64, run, False))


@pytest.fixture
def question(session, condition):
    """The model, the images and the surrogate of a condition."""
    candidate = session.settings.candidates[condition.kind.zero_shot_only]
    return session.asked(candidate, condition), session.images(condition), session.surrogate(candidate, condition)


@pytest.fixture
def another(tmp_path):
    """Another evaluator, later, on a machine with less memory."""
    torch.manual_seed(1)
    np.random.seed(1)
    return Evaluator(Store(tmp_path), device=torch.device("cpu"), batch_size=3)


def test_all_are_there():
    names = {condition.name for condition in SUITE.conditions}
    assert names >= {*NATURAL, *STYLIZED}
    attacks = {condition.registered.name for condition in SUITE.conditions if condition.kind.attack}
    assert attacks == {found.name for found in registry.ours("attack")}
    synthetic = {value for condition in SUITE.conditions for _, value in condition.params}
    assert synthetic >= {*CORRUPTIONS, *PERTURBATIONS}


def test_ids_name_one_condition_each():
    assert len({condition.id for condition in SUITE.conditions}) == len(SUITE.conditions)


@every
def test_its_id_names_it_and_can_be_selected(condition):
    """But that of a caption, whose spaces can't be part of one."""
    assert condition_of(condition.id).path == condition.path
    assert condition_of(condition.id) == condition or condition.kind.crafted_on == "text"
    assert re.fullmatch(r"[\w:./-]+", condition.id)


@every
def test_outcomes_depend_neither_on_batches_nor_on_their_order(condition, question, session, another):
    model, images, surrogate = question
    found = session.evaluator(model, condition, images, surrogate)
    backwards = another(model, condition, replace(images, samples=images.samples[::-1]), surrogate)
    assert found.ids == backwards.ids[::-1] == tuple(sample.id for sample in images.samples)
    assert (found.predictions != backwards.predictions[::-1]).sum() <= 1  # by floating point
    assert found.unreadable == ()


@every
def test_attacks_help_no_model(condition, question, session):
    if not condition.kind.attack:
        return
    model, images, surrogate = question
    found, clean = session.evaluator(model, condition, images, surrogate), session.evaluator(model, CLEAN, images)
    assert clean.correct.any()
    assert not (found.correct & ~clean.correct).any()
    assert np.array_equal(found.predictions[~clean.correct], clean.predictions[~clean.correct])


@every
def test_attacks_that_draw_nothing_say_so(condition, question, another, monkeypatch):
    """They are the same under all seeds, and computed once."""
    if not condition.kind.attack or condition.kind.craft_set:
        return
    drawn = []

    class Watched:
        def __init__(self, *given):
            self._rng = image_rng(*given)

        def __getattr__(self, name):
            drawn.append(name)
            return getattr(self._rng, name)

    monkeypatch.setattr(context, "image_rng", Watched)
    model, images, surrogate = question
    assert another(model, condition, images, surrogate).seconds > 0
    assert bool(drawn) == condition.kind.draws


@every
def test_what_models_see(condition, question, session, another):
    """Images in [0, 1], what fools in the ball; 8-bit ones where nobody attacks, the same for all batches."""
    model, images, surrogate = question
    found = session.evaluator(model, condition, images, surrogate)
    fooled = {id for id, correct in zip(found.ids, found.correct, strict=True) if not correct}
    made = {p.sample.id: p for p in session.evaluator.pictures(model, condition, images, surrogate)}
    for picture in made.values():
        assert picture.changed.shape == (3, model.facts.image_size, model.facts.image_size)
        assert picture.changed.dtype == torch.float32
        assert 0 <= picture.changed.min() <= picture.changed.max() <= 1
        if condition.kind.attack and condition.eps and picture.sample.id in fooled:
            assert (picture.changed - picture.clean).abs().max() <= condition.eps + 1e-6
    if condition.kind.attack:
        return
    assert len(made) == len(images)
    backwards = replace(images, samples=images.samples[::-1])
    for picture in another.pictures(model, condition, backwards, surrogate):
        assert torch.equal(255 * picture.changed, (255 * picture.changed).round())
        assert torch.equal(picture.changed, made[picture.sample.id].changed)
