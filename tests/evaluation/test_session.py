"""Cells over ImageNet's classes: each natural shift with its own clean reference and trend."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clip_robustness.conditions.condition import CLEAN, SEVERITIES, attack, mean_corruption, natural, reference
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError, ModelWarning
from clip_robustness.evaluation.images import MissingDataError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.metrics.corruption import alexnet_errors
from clip_robustness.metrics.trend import published
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.spec import parse
from clip_robustness.results import history
from clip_robustness.results.results import Results
from clip_robustness.suites import load
from clip_robustness.verdicts.measure import measure
from clip_robustness.verdicts.regression import compared

IMAGENET = class_list("imagenet")
SUITE = """
candidate = ["python:tests.evaluation.test_session:brightest"]
supervised = ["python:tests.evaluation.test_session:brightest"]
[data]
imagenet = "val"
imagenet-a = "a"
[conditions]
natural = ["imagenet-a", "imagenet-r"]
"""


def brightest(spec, classes, device):
    """Predicts the class whose number is written in the upper left pixel, in red and green."""

    class Net(nn.Module):
        def forward(self, images):
            number = (images[:, 0, 0, 0] + 256 * images[:, 1, 0, 0]) * 255
            return -(number[:, None] - torch.arange(1000.0)).abs()

    return Classifier(
        Net(), name=spec.text, classes=classes, image_size=8, geometry=lambda image: image.convert("RGB"),
        mean=(0, 0, 0), std=(1, 1, 1), fingerprint="brightest",
    )  # fmt: skip


def write(folder, label, number, name):
    (folder / IMAGENET.keys[label]).mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = number % 256, number // 256
    Image.fromarray(pixels).save(folder / IMAGENET.keys[label] / f"{name}.png")


def session_of(tmp_path, toml, samples=None):
    (tmp_path / "suite.toml").write_text(toml)
    suite = load(str(tmp_path / "suite.toml"))
    own = suite.settings
    models = (tuple(parse(text) for text in texts) for texts in (own.candidate, own.supervised))
    return Session(Settings(suite, *models, None, samples, 0, "cpu", 16, tmp_path / "reports" / "run", False))


@pytest.fixture
def session(tmp_path):
    """Classes 6 and 11 are imagenet-a's, 0 and 7 are not. Predicted: 7 for every second image of 6, else the label."""
    for label in (0, 6, 7, 11):
        for i in range(20):
            write(tmp_path / "val", label, 7 if label == 6 and i % 2 else label, i)
    for i in range(20):
        write(tmp_path / "a", 6, 11 if i < 15 else 6, i)
    return session_of(tmp_path, SUITE)


def row(session, condition):
    return measure(session, Cell(session.settings.candidates[0], condition), "test")[0]


def test_the_reference_of_a_subset_predicts_among_its_classes_alone(session):
    """Class 7 wins over 6 in half of its images, but is not among the 200: 6 is next."""
    assert row(session, CLEAN).accuracy == 70 / 80
    on_subset = row(session, reference(natural("imagenet-a")))
    assert (on_subset.n, on_subset.accuracy) == (40, 1.0)


def test_effective_robustness_is_measured_from_the_clean_accuracy_on_the_same_classes(session):
    cell = row(session, natural("imagenet-a"))
    assert cell.accuracy == 5 / 20
    expected = 5 / 20 - published("imagenet-a")(1.0)
    assert cell.metrics["effective_robustness"] == pytest.approx(expected)
    assert cell.metrics["trend_r2"] == published("imagenet-a").r2
    assert cell.warnings == (
        "data set 'imagenet-a': 20 images, 7500 were published",
        "data set 'imagenet-a': images of 1 of 200 classes",
    )


def test_baselines_of_one_clean_accuracy_make_no_trend(tmp_path):
    suite = """
        classes = "mini"
        candidate = ["mini:clip"]
        supervised = ["a=mini:supervised", "b=mini:supervised", "c=mini:supervised"]
        [data]
        imagenet = "mini:imagenet"
        imagenet-v2 = "mini:imagenet-v2"
        [conditions]
        natural = ["imagenet-v2"]
        [[rules]]
        match = "natural/*"
        min_effective_robustness = 0.0
    """
    cell = row(session_of(tmp_path, suite, samples=24), natural("imagenet-v2"))
    assert cell.verdict == "fail"
    assert "three supervised baselines, not all of the same clean accuracy" in cell.reason


def test_images_of_several_labels_are_not_attacked_by_what_knows_one(tmp_path):
    for i, number in enumerate((6, 7, 8)):
        write(tmp_path / "val", 6, number, i)
    folder = f"{IMAGENET.keys[6]}/"
    labels = {f"{folder}{i}.png": several for i, several in enumerate(([6, 7], [7], [9, 6]))}
    (tmp_path / "real.json").write_text(json.dumps(labels))
    suite = SUITE.replace('"val"', '"flat:val?labels=real.json"')
    session = session_of(tmp_path, suite)
    assert row(session, CLEAN).accuracy == 2 / 3
    for name in ("universal", "template-heads"):
        said = rf"2 of 3 images have several labels \(first: .*\), and {name} leads away from one"
        with pytest.raises(InputError, match=said):
            session.images(attack(name, "1/255"))
    assert len(session.images(attack("fgsm", "1/255"))) == 3


def test_a_shift_without_data_says_what_to_add_and_so_does_its_reference(session):
    for condition in (natural("imagenet-r"), reference(natural("imagenet-r"))):
        with pytest.raises(MissingDataError, match='add imagenet-r = "/path/to/imagenet-r" under'):
            row(session, condition)


def test_only_zero_shot_models_are_asked_for_names_that_imagenet_lacks(tmp_path):
    suite = load("mini")
    clip, supervised = parse("mini:clip"), parse("mini:supervised")
    session = Session(
        Settings(suite, (clip, supervised), (supervised,), supervised, 52, 0, "cpu", 64, tmp_path / "run", False)
    )
    condition = natural("objectnet-all-names")
    (cell,) = measure(session, Cell(clip, condition), "test")
    found = (cell.n, cell.supervised, cell.verdict)
    assert found == (52, None, "not gated")
    assert cell.accuracy > 2 / 13
    with pytest.raises(MissingDataError, match=r"only a zero-shot model has all the classes: .*mini:supervised"):
        measure(session, Cell(supervised, condition), "test")
    session.check()


def test_mce_is_a_cell_of_its_own_that_a_rule_can_limit(tmp_path):
    """From published files: of ten images of class 0 as many are wrong as the severity says, all of them in fog."""
    for label in (0, 1):
        write(tmp_path / "val", label, label, 0)
    for name in alexnet_errors():
        for severity in SEVERITIES:
            for i in range(10):
                wrong = i < severity or name == "fog"
                write(tmp_path / "c" / name / str(severity), 0, 500 if wrong else 0, i)
    toml = SUITE.replace('imagenet-a = "a"', 'imagenet-c = "c"').replace(
        'natural = ["imagenet-a", "imagenet-r"]', "imagenet-c-disk = {}"
    )
    rule = '[[rules]]\nmatch = "synthetic/imagenet-c-disk-mce"\nmax_mce = {}\n'
    expected = np.mean([(5.0 if name == "fog" else 1.5) / sum(e) for name, e in alexnet_errors().items()])
    for most, verdict in ((expected + 1, "pass"), (0.0, "fail"), (expected + 0.01, "inconclusive")):
        session = session_of(tmp_path, toml + rule.format(most))
        cell = row(session, mean_corruption(on_disk=True))
        assert cell.verdict == verdict
    assert cell.metrics["mce"] == pytest.approx(expected)
    assert cell.metrics["mce_ci95_low"] < expected < cell.metrics["mce_ci95_high"]
    assert (cell.n, cell.correct, cell.accuracy) == (750, 14 * 35, pytest.approx(14 * 35 / 750))
    assert cell.difference.value == 0
    for label in (0, 1):  # what it is compared with is at chance
        write(tmp_path / "val", label, label + 1, 0)
    cell = row(session_of(tmp_path, toml + rule.format(expected + 1)), mean_corruption(on_disk=True))
    assert (cell.verdict, cell.reason.partition(":")[0]) == ("error", "compared with clean")


def test_mce_needs_all_of_the_fifteen_and_imagenet(tmp_path):
    toml = SUITE.replace('natural = ["imagenet-a", "imagenet-r"]', "imagenet-c = {}")
    for text, there in ((toml, True), (toml.replace("{}", "{ severities = [3] }"), False)):
        (tmp_path / "suite.toml").write_text(text)
        assert (mean_corruption() in load(str(tmp_path / "suite.toml")).conditions) == there
    (tmp_path / "suite.toml").write_text('classes = "mini"\n' + toml)
    assert mean_corruption() not in load(str(tmp_path / "suite.toml")).conditions


def warned_and_broken(spec, classes, device):
    warnings.warn("the file does not say its activation", ModelWarning, stacklevel=1)
    raise InputError("its logits are constant")


def test_what_was_warned_of_a_model_that_does_not_load_is_not_lost(tmp_path):
    session = session_of(tmp_path, SUITE)
    spec = parse("python:tests.evaluation.test_session:warned_and_broken")
    with pytest.raises(InputError, match="logits are constant; the file does not say its activation"):
        session.classifier(spec)


def test_a_shift_of_ones_own_and_a_clean_reference_of_ones_own(tmp_path):
    """Ten photos that are right, the same at night, three of them wrong."""
    for i in range(10):
        write(tmp_path / "photos", i, i, "day")
        write(tmp_path / "dark", i, i if i >= 3 else 999, "night")
    own = """
clean = "photos"
candidate = ["python:tests.evaluation.test_session:brightest"]
supervised = ["python:tests.evaluation.test_session:brightest"]
[data]
photos = "photos"
night = "dark"
[conditions]
natural = ["night"]
[[rules]]
match = "*"
max_drop_vs_clean = 0.05
"""
    session = session_of(tmp_path, own)
    shift = natural("night")
    candidate, baseline = measure(session, Cell(session.settings.candidates[0], shift), "test")
    assert (candidate.condition, candidate.correct, candidate.n, baseline.correct) == ("night", 7, 10, 7)
    assert [(c.limit, round(c.value, 2)) for c in candidate.checks] == [("max_drop_vs_clean", -0.3)]
    assert session.images(CLEAN).name == "photos"


def test_a_recorded_run_is_compared_where_the_code_that_matters_is_the_same(session, monkeypatch):
    cell = Cell(session.settings.candidates[0], CLEAN)
    ours, images = session.outcomes(cell.candidate, CLEAN), session.images(CLEAN)
    right = history.unpacked(json.loads(json.dumps(history.packed(session.correct(cell)))))

    def compared_with(**code):
        then = replace(right, code={**right.code, **code})
        found = Results("s", {"seed": 0, "classes": "imagenet"}, [], [])
        run = history.Run("one", "", Path(), found, {(right.model, right.condition): then}, held=True)
        monkeypatch.setitem(vars(session), "before", run)
        return compared(session, cell, ours, images)

    assert compared_with().difference.value == 0
    assert compared_with(timm="that of another kind of model").difference.value == 0
    assert "by another version of the code" in compared_with(condition="another")
    assert "data set 'imagenet' was read by another reader, or in other classes" in compared_with(data="another")
    monkeypatch.delitem(right.code, "data")  # as earlier versions recorded runs
    assert compared_with().difference.value == 0
