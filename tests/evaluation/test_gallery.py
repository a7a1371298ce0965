"""Pictures of failures: which are chosen, and that they show what the model saw."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_robustness import models
from clip_robustness.conditions.condition import CLEAN, Condition, attack, corruption, natural, perturbation, stylized
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Dataset, Sample, read_folder, subsample
from clip_robustness.evaluation import gallery
from clip_robustness.evaluation.computing import Picture
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.mini.data import mini_folder
from clip_robustness.results.gallery import collect, keep

MINI = class_list("mini")
CPU = torch.device("cpu")


def outcomes(**right):
    """Image id -> right or wrong."""
    correct = np.array(list(right.values()), bool)
    labels = np.zeros(len(right), np.int64)
    return Outcomes(tuple(right), labels, np.where(correct, 0, 1), correct)


def test_the_most_telling_failures_come_first():
    """Right when clean and for the baseline; right when clean; the rest; what is right is none."""
    ours = outcomes(a=False, b=False, c=False, d=True)
    clean, theirs = outcomes(a=False, b=True, c=True, d=True), outcomes(a=True, b=False, c=True, d=True)
    assert gallery.telling(ours, clean, theirs, 4) == ["c", "b", "a"]
    assert gallery.telling(ours, clean, theirs, 1) == ["c"]
    assert gallery.telling(ours, None, theirs, 2)[-1] in ("a", "c")
    assert set(gallery.telling(ours, None, None, 9)) == {"a", "b", "c"}


def test_the_choice_does_not_depend_on_the_order_of_the_images():
    ids = {f"image{i}": False for i in range(30)}
    one, other = outcomes(**ids), outcomes(**dict(reversed(ids.items())))
    assert gallery.telling(one, None, None, 5) == gallery.telling(other, None, None, 5)


@pytest.fixture(scope="module")
def images():
    return subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 12, seed=0)


@pytest.fixture(scope="module")
def victim():
    return models.load("mini:clip", MINI)


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    return Evaluator(Store(tmp_path_factory.mktemp("store")), device=CPU, batch_size=16)


CONDITIONS: list[tuple[Condition, float]] = [
    (corruption("gaussian_noise", 5), 1),
    (perturbation("translate"), 1),
    (stylized("stylized-local"), 1),
    (attack("fgsm", "4/255"), 4 / 255),
    (attack("bim", "4/255", rounded=True), 4 / 255),
    (attack("bim", "min"), 64 / 255),
    (attack("deepfool", "4/255"), 4 / 255),
    (attack("transfer-mim", "32/255"), 32 / 255),
    (attack("transfer-mim", "min"), 64 / 255),
    (attack("typographic"), 1),
]


@pytest.mark.parametrize(("condition", "eps"), CONDITIONS, ids=[c.id for c, _ in CONDITIONS])
def test_a_picture_shows_what_the_model_saw(evaluate, victim, images, condition, eps):
    """The prediction for its pixels is the one that counted, and they are as far from the clean ones as allowed."""
    surrogate = models.load("mini:supervised", MINI) if condition.kind.crafted_on else None
    found = evaluate(victim, condition, images, surrogate)
    predicted = dict(zip(found.ids, found.predictions.tolist(), strict=True))
    wrong = {i for i, right in zip(found.ids, found.correct, strict=True) if not right}
    few = Dataset(images.name, tuple([sample for sample in images.samples if sample.id in wrong][:3]))
    pictures = list(evaluate.pictures(victim, condition, few, surrogate))
    assert 1 <= len(pictures) == len(few)
    for picture in pictures:
        assert picture.prediction != picture.sample.label
        moved = float((picture.changed - picture.clean).abs().max())
        if condition.kind.is_sequence:  # the first frame may be the only one that is wrong
            assert 0 <= moved <= eps
        else:
            assert picture.prediction == predicted[picture.sample.id]
            assert 0 < moved <= eps + 1e-6


def test_all_labels_that_count_as_right_are_named():
    black = torch.zeros(3, 8, 8)
    pictures = [Picture(Sample("a.png", Path("a.png"), 0, also=(2,)), None, black, None, p) for p in (2, 1)]
    (example,) = gallery.examples(pictures, MINI.names, None)
    assert (example.label, example.after) == (f"{MINI.names[0]} or {MINI.names[2]}", MINI.names[1])


def test_of_images_that_were_fixed_those_that_are_right_are_shown():
    black = torch.zeros(3, 8, 8)
    pictures = [
        Picture(Sample(name, Path(name), 0), None, black, None, p) for name, p in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert [e.image for e in gallery.examples(pictures, MINI.names, None, right=("a",))] == ["a", "c"]


def test_shifted_images_have_no_clean_counterpart(evaluate, victim):
    sketches = subsample(read_folder("imagenet-sketch", mini_folder("imagenet-sketch"), MINI), 4, seed=0)
    pictures = list(evaluate.pictures(victim, natural("imagenet-sketch"), sketches))
    assert [(p.clean, p.clean_prediction) for p in pictures] == [(None, None)] * 4


def test_what_can_not_be_made_again_for_a_few_images_is_not_shown(evaluate, victim, images):
    assert list(evaluate.pictures(victim, attack("universal", "8/255"), images)) == []


def test_an_image_that_went_missing_is_left_out(evaluate, victim, tmp_path):
    gone = Dataset("gone", (Sample("gone.png", tmp_path / "gone.png", 0),))
    assert list(evaluate.pictures(victim, CLEAN, gone)) == []


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), int)


def example(sample, side=64, change=0.0, label=1):
    image = torch.full((3, side, side), 0.25)
    picture = Picture(sample, image, image + change, 0, label)
    return list(gallery.examples([picture], ["cup", "plate"], None))


def test_differences_are_enlarged_ten_times_around_grey(tmp_path):
    (made,) = example(Sample("a", tmp_path, 0), change=4 / 255)
    assert (made.label, made.before, made.after, made.supervised) == ("cup", "cup", "plate", "")
    assert abs(decoded(made.difference).mean() - (127.5 + 40)) < 1
    assert abs(decoded(made.changed).mean() - (63.75 + 4)) < 1


def test_large_images_are_made_smaller_and_a_border_that_must_be_kept_is_red(tmp_path):
    (made,) = example(Sample("a", tmp_path, 0, border=2), side=224)
    assert decoded(made.clean).shape == (132, 132, 3)
    red, green, blue = decoded(made.clean)[0, 60]
    assert red > 180 > 90 > max(green, blue)


def test_what_is_right_when_made_again_is_left_out(tmp_path):
    assert example(Sample("a", tmp_path, 0), label=0) == []


def test_damaged_pictures_are_left_out(tmp_path):
    (made,) = example(Sample("a", tmp_path, 0))
    keep(tmp_path, "good", [made])
    (tmp_path / "bad.json").write_text("{")
    from tests.reports.test_reports import FAILED, PASSED, replace

    cells = [replace(PASSED, gallery="good"), replace(FAILED, gallery="bad"), replace(PASSED, gallery="missing")]
    assert collect(tmp_path, cells) == {"good": [made]}
