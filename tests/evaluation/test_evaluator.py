"""The evaluator and its store: nothing computed twice, nothing computed lost, no dependence on batches or order."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clip_robustness import models
from clip_robustness.conditions import scoring as module
from clip_robustness.conditions.condition import CLEAN, attack, corruption
from clip_robustness.conditions.condition import natural as natural_shift
from clip_robustness.datasets import load
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Dataset, Sample, read_folder, subsample
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.request import EvalRequest
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.data import mini_folder
from tests import small

MINI = class_list("mini")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier():
    return models.load("mini:supervised", MINI)


@pytest.fixture(scope="module")
def images():
    return subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 48, seed=0)


@pytest.fixture
def evaluate(tmp_path):
    return Evaluator(Store(tmp_path / "store"), device=CPU, batch_size=16)


@pytest.fixture
def passes(monkeypatch):
    """Counts the images that a classifier really sees."""
    seen = []
    original = module._asked
    monkeypatch.setattr(module, "_asked", lambda context, batch: (seen.append(len(batch)), original(context, batch))[1])
    return seen


def test_a_second_evaluation_computes_nothing(evaluate, classifier, images, passes):
    first = evaluate(classifier, CLEAN, images)
    assert sum(passes) == 48
    second = evaluate(classifier, CLEAN, images)
    assert sum(passes) == 48
    assert second.seconds == 0
    assert np.array_equal(first.predictions, second.predictions)


def test_a_larger_sample_computes_the_new_images_alone(evaluate, classifier, images, passes):
    evaluate(classifier, CLEAN, subsample(images, 24, seed=0))
    evaluate(classifier, CLEAN, images)
    assert sum(passes) == 48


def test_other_conditions_seeds_and_weights_share_nothing(tmp_path, classifier, images, passes):
    store = Store(tmp_path)
    small = subsample(images, 8, seed=0)
    Evaluator(store, device=CPU)(classifier, CLEAN, small)
    Evaluator(store, device=CPU)(classifier, corruption("contrast", 5), small)
    Evaluator(store, device=CPU)(classifier, corruption("contrast", 4), small)
    Evaluator(store, device=CPU, seed=1)(classifier, CLEAN, small)
    Evaluator(store, device=CPU)(models.load("mini:clip", MINI), CLEAN, small)
    assert sum(passes) == 40


def test_predictions_are_in_the_classes_of_the_data_set(evaluate, classifier):
    """imagenet-a's protocol: the best of its own classes, here every second one, not of all."""
    images = subsample(load.load("imagenet-a", str(mini_folder("imagenet-a")), MINI), 240, seed=0)
    pixels = np.stack([np.asarray(classifier.geometry(sample.image())) for sample in images.samples])
    logits = classifier.logits(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    outcomes = evaluate(classifier, natural_shift("imagenet-a"), images)
    assert (outcomes.predictions != logits[:, ::2].argmax(1).numpy()).sum() <= 1
    over_all = logits.argmax(1).numpy() == 2 * outcomes.labels
    assert over_all.sum() < outcomes.correct.sum()


def test_any_of_several_labels_counts(evaluate, classifier, images):
    first = evaluate(classifier, CLEAN, images)
    wrong = [replace(i, label=(p + 1) % 24, also=()) for i, p in zip(images.samples, first.predictions, strict=True)]
    assert not evaluate(classifier, CLEAN, replace(images, samples=tuple(wrong))).correct.any()
    either = [replace(i, also=((i.label + 5) % 24, (i.label - 1) % 24)) for i in wrong]
    assert evaluate(classifier, CLEAN, replace(images, samples=tuple(either))).correct.all()


class Slopes(nn.Module):
    """Class 0 always has the logit 0, class 1 more the more red an image is, class 2 the more green, but less."""

    def forward(self, images):
        red, green, _ = images.mean((2, 3)).unbind(1)
        logits = [0 * red, red - 0.1, green - 0.2, *[0 * red - 9] * (len(MINI) - 3)]
        return torch.stack(logits, 1)


@pytest.mark.parametrize("name", ["fgsm", "transfer-fgsm"])
@pytest.mark.parametrize(("also", "found"), [((), 1), ((1,), 2), ((2,), 1), ((1, 2), 0)])
def test_attacks_lead_away_from_all_right_labels(tmp_path, evaluate, name, also, found):
    """Not from one to another: the steepest way from class 0 is to class 1."""
    Image.new("RGB", (small.SIDE, small.SIDE), (127, 127, 127)).save(tmp_path / "grey.png")
    images = Dataset("imagenet", (Sample("grey.png", tmp_path / "grey.png", 0, also=also),))
    model, condition = small.wrapped(Slopes(), "slopes"), attack(name, "16/255")
    outcomes = evaluate(model, condition, images, model if name != "fgsm" else None)
    assert outcomes.predictions.tolist() == [found]
    assert outcomes.correct.tolist() == [found in (0, *also)]
    (picture,) = evaluate.pictures(model, condition, images, model if name != "fgsm" else None)
    assert picture.prediction == found


def test_a_changed_file_is_computed_anew_and_a_touched_one_is_not(tmp_path, classifier, image_folder, passes):
    images = read_folder("imagenet", image_folder({MINI.keys[0]: 3}), MINI)
    for sample in images.samples[:2], (), images.samples[1:2]:
        Evaluator(Store(tmp_path / "store"), device=CPU)(classifier, CLEAN, images)
        for changed in sample:
            os.utime(changed.path, ns=(1, 1))
    assert sum(passes) == 3
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(images.samples[1].path)
    Evaluator(Store(tmp_path / "store"), device=CPU)(classifier, CLEAN, images)
    assert sum(passes) == 4


def test_unreadable_images_are_counted_named_and_tried_again(tmp_path, classifier, image_folder, passes):
    folder = image_folder({MINI.keys[0]: 3})
    (folder / MINI.keys[0] / "1.png").write_bytes(b"cut off")
    images = read_folder("imagenet", folder, MINI)
    for _ in range(2):
        outcomes = Evaluator(Store(tmp_path), device=CPU)(classifier, CLEAN, images)
        assert outcomes.unreadable == (f"{MINI.keys[0]}/1.png",)
        assert outcomes.fault.startswith(f"{folder}/{MINI.keys[0]}/1.png: not an image that Pillow reads as JPEG, ")
        assert len(outcomes.correct) == 2
    assert sum(passes) == 2
    (folder / MINI.keys[0] / "1.png").unlink()
    (folder / MINI.keys[0] / "1.png").symlink_to(folder / MINI.keys[0] / "0.png")
    again = Evaluator(Store(tmp_path), device=CPU)(classifier, CLEAN, read_folder("imagenet", folder, MINI))
    assert (again.unreadable, again.fault) == ((), "")


def test_noise_is_drawn_per_image(evaluate, classifier, images):
    """The same pixels for an image, whatever images are prepared with it."""

    def noisy(samples):
        stamps = {sample.id: sample.stamp for sample in samples}
        request = EvalRequest(classifier, corruption("gaussian_noise", 3), images, None, "", stamps)
        prepared = evaluate._computing._prepared(request, samples, 16)
        return {sample.id: pixels for batch in prepared for sample, pixels in batch}

    together, alone = noisy(images.samples), noisy(images.samples[40:41])
    assert all(np.array_equal(together[name], alone[name]) for name in alone)
    assert not np.array_equal(*list(together.values())[:2])


def test_what_was_done_before_a_crash_is_kept(evaluate, classifier, images, passes, monkeypatch):
    predict = module._asked
    calls = []

    def crashing(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(*args)

    monkeypatch.setattr(module, "_asked", crashing)
    with pytest.raises(KeyboardInterrupt):
        evaluate(classifier, CLEAN, images)
    assert sum(passes) == 32
    evaluate(classifier, CLEAN, images)
    assert sum(passes) == 48
