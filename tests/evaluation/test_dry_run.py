"""The plan of a run, where nothing is drawn yet."""

import pytest
import torch
from torch import nn

from clip_robustness import suites, timing
from clip_robustness.evaluation import dry_run
from clip_robustness.evaluation.dry_run import Speed, planned
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.mini import data, sets
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.spec import parse

LINEAR = "python:tests.evaluation.test_dry_run:linear"
SUITE = f"""
classes = "mini"
candidate = ["{LINEAR}"]
supervised = ["{LINEAR}"]
samples = 8
[data]
imagenet = "mini:imagenet"
imagenet-a = "mini:imagenet-a"
objectnet = "mini:objectnet"
imagenet-vid-robust = "mini:imagenet-vid-robust"
imagenet-p = "mini:imagenet-p"
counteranimal = "mini:counteranimal"
[conditions]
natural = ["imagenet-a", "objectnet", "imagenet-vid-robust", "counteranimal-hard"]
imagenet-p-disk = {{ perturbations = ["rotate"] }}
attacks = [{{ names = ["fgsm"], eps = ["1/255"] }}]
overlap = "mini:pretraining"
"""


def linear(spec, classes, device):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, len(classes)))
    return Classifier(
        net, name=spec.text, classes=classes, image_size=64, geometry=lambda image: image.convert("RGB"),
        mean=(0, 0, 0), std=(1, 1, 1), fingerprint="linear",
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path, toml):
    return Settings(
        suite=suites.load(toml(SUITE)), candidates=(parse(LINEAR),), supervised=(parse(LINEAR),),
        surrogate=None, samples=8, seed=0, device="cpu", batch_size=8, report_dir=tmp_path / "run", require_all=False,
    )  # fmt: skip


def counts(lines):
    """Condition -> models, images, stored, passes."""
    return {line.split()[0]: line.split()[1:5] for line in lines if "/" in line.split(" ")[0]}


def test_where_no_set_is_drawn_a_few_images_are_and_the_counts_are_those_of_the_drawn_sets(
    settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(dry_run, "measured_speed", lambda classifier, batch_size: Speed(0.001, 0.003, batch_size))
    cells = [Cell(settings.candidates[0], condition) for condition in settings.suite.conditions]
    for name in settings.suite.settings.data:
        data.mini_folder(name)  # in the cache of the tests
    on_drawn = list(planned(settings, cells, 1))

    cache, drawn = tmp_path / "cache", []
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(cache))
    monkeypatch.setattr(sets, "draw", lambda scene, rng, draw=sets.draw: drawn.append(scene) or draw(scene, rng))
    data._picture.cache_clear()
    lines = list(planned(settings, cells, 1))
    assert counts(lines) == counts(on_drawn)
    assert len(counts(lines)) >= 5
    assert 0 < len(drawn) < 60, "and the 60 of the set that is only written as a whole"
    assert any(line.startswith("mini:imagenet: 480 files are drawn on first use, about ") for line in lines)
    assert any(line.startswith("mini:pretraining: on first use") for line in lines)
    assert not any("files are drawn" in line for line in on_drawn)
    assert {file.relative_to(cache).parts[0] for file in cache.rglob("*")} <= {"code", "heads", "machines", "models"}
    assert str(cache) in lines[-1]
    assert not (tmp_path / "run").exists()


def test_a_busy_machine_changes_no_speed(monkeypatch):
    """What all threads take there says nothing, what one takes does."""
    model = linear(parse(LINEAR), ("a", "b"), torch.device("cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    busy = [timing.Timed(8.0, 2.0, 12.0), timing.Timed(0.5, 0.1, 0.1)]  # 16 images in four threads, 4 in one
    calls = iter(busy * 2)
    monkeypatch.setattr(timing, "fastest", lambda run, long_enough: run() is None or next(calls))
    assert dry_run.measured_speed(model, 16) == Speed(0.05, 0.05, 16, hindered=True)
    assert threads == [1, 4, 1, 4]
