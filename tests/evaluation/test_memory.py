"""Memory: what does not fit is computed in smaller batches, and more images need no more of it."""

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.condition import CLEAN, attack, perturbation
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.models import memory
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.device import workers
from clip_robustness.models.memory import Batch
from clip_robustness.models.spec import parse
from clip_robustness.suites import load
from clip_robustness.verdicts.measure import measure
from tests import ROOT

PLAIN = parse("mini:supervised")
CONDITIONS = [CLEAN, attack("fgsm", "2/255"), perturbation("tilt", 1, on_disk=False, samples=None)]
SUITE = """
classes = "mini"
samples = 12
[data]
imagenet = "mini:imagenet"
[conditions]
"""


def python_memory():
    np.empty(1 << 60, np.uint8)


def cpu_memory():
    torch.empty(1 << 60, dtype=torch.uint8)


def gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def fitting(images_at_a_time, fail, with_gradients=True):
    """mini:supervised in a memory for so many images."""

    def factory(spec, classes, device):
        inner = models.load(PLAIN, classes, device)
        forward = inner.net.forward

        def limited(images):
            if len(images) > images_at_a_time or (images.requires_grad and not with_gradients):
                fail()
            return forward(images)

        inner.net.forward = limited
        return inner

    return factory


python_limited, cpu_limited, gpu_limited = (fitting(4, fail) for fail in (python_memory, cpu_memory, gpu_memory))
nothing_fits = fitting(99, cpu_memory, with_gradients=False)


def measured(tmp_path, spec, condition):
    (tmp_path / "suite.toml").write_text(SUITE)
    suite = load(str(tmp_path / "suite.toml"))
    run = tmp_path / spec.name.replace(":", "-") / "run"
    session = Session(Settings(suite, (spec,), (), None, suite.settings.samples, 0, "cpu", 16, run, False))
    return measure(session, Cell(spec, condition), "test")[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The cell of a condition where memory bounds nothing."""
    return cache(lambda condition: measured(tmp_path_factory.mktemp("plain"), PLAIN, condition))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
@pytest.mark.parametrize("limited", ["python_limited", "cpu_limited", "gpu_limited"])
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_cell_says_so(tmp_path, plain, limited, condition):
    spec = parse(f"python:tests.evaluation.test_memory:{limited}")
    cell, whole = measured(tmp_path, spec, condition), plain(condition)
    assert (cell.n, cell.correct) == (whole.n, whole.correct)
    assert whole.warnings == ()
    said = f"{condition.name} was computed 4 images at a time, 16 do not fit into memory"
    assert [warning.partition(": ")[2] for warning in cell.warnings] == [said]
    again = measured(tmp_path, spec, condition)
    assert (again.seconds, again.warnings) == (0, cell.warnings), "the store keeps what is to be said"


MAP = 4 * 3 * 32 * 32


def of_layers(count):
    layers = (torch.nn.Tanh() for _ in range(count))
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    return Classifier(
        net, name="small", classes=class_list("mini"), image_size=32, geometry=lambda image: image, mean=(0, 0, 0),
        std=(1, 1, 1), fingerprint="small",
    )  # fmt: skip


def test_a_forward_pass_holds_as_much_however_deep_a_model_is():
    """The image, normalised, what a layer reads and gives; nothing of the weights, which are ten times as much."""
    assert [memory.bytes_an_image(of_layers(count), gradients=False) for count in (2, 9)] == [4 * MAP, 4 * MAP]


def test_for_its_gradient_what_each_layer_gives_is_held():
    few, many = (memory.bytes_an_image(of_layers(count), gradients=True) for count in (2, 9))
    assert many - few == 7 * MAP


def bounded_by_memory(monkeypatch, images, gradients):
    """The free memory suffices for so many images."""
    needed = memory._OVERHEAD * memory.bytes_an_image(models.load(PLAIN, class_list("mini")), gradients=gradients)
    monkeypatch.setattr(memory, "free_memory", lambda: images * needed / memory._SHARE)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_a_batch_is_bounded_before_the_memory_is_full(tmp_path, plain, monkeypatch, condition):
    whole = plain(condition)
    model, gradients = models.load(PLAIN, class_list("mini")), bool(condition.kind.attack)
    for images, processes, fits in ((4.5, 1, 4), (9, 2, 4), (0, 1, 1), (99, 1, 16)):
        bounded_by_memory(monkeypatch, images, gradients)
        assert memory.bounded(model, 16, gradients=gradients, sharing=processes) == Batch(16, fits)
    bounded_by_memory(monkeypatch, 4.5 * workers(), gradients)
    cell = measured(tmp_path, PLAIN, condition)
    assert (cell.n, cell.correct) == (whole.n, whole.correct)
    said = f"{condition.name} was computed 4 images at a time, 16 do not fit into memory"
    assert [warning.partition(": ")[2] for warning in cell.warnings] == [said]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_a_cpu_takes_no_more_than_it_gains_from_and_nothing_is_said_of_it(tmp_path, plain, monkeypatch, condition):
    passed, whole = [], plain(condition)
    needed = memory.bytes_an_image(models.load(PLAIN, class_list("mini")), gradients=bool(condition.kind.attack))
    monkeypatch.setattr(memory, "_ENOUGH", 4.5 * memory._OVERHEAD * needed)
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: (passed.append(x), forward(self, x))[1])
    cell = measured(tmp_path, PLAIN, condition)
    assert (cell.n, cell.correct, cell.warnings) == (whole.n, whole.correct, ())
    assert max(len(images) for images in passed if images.requires_grad == bool(condition.kind.attack)) == 4


def test_what_does_not_fit_at_all_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="fgsm-2/255 does not fit into memory, not even one image at a time"):
        measured(tmp_path, parse("python:tests.evaluation.test_memory:nothing_fits"), CONDITIONS[1])


GROWTH = r"""
import json, re, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.datasets.classes import class_list
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.device import workers
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.conditions.condition import CLEAN

class Net(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)).repeat(1, 8)

folder, limit, counts = Path(sys.argv[1]), int(sys.argv[2]) or None, [int(n) for n in sys.argv[3:]]
Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "0.png")
classifier = Classifier(
    Net(), name="mean", classes=class_list("mini"), image_size=224, mean=(0, 0, 0), std=(1, 1, 1), fingerprint="mean",
    geometry=lambda image: image.convert("RGB").resize((224, 224)),
)
peaks = []
for count in counts:
    samples = tuple(Sample(f"{i:06d}", folder / "0.png", 0) for i in range(count))
    evaluate = Evaluator(Store(folder / f"store-{count}"), device=torch.device("cpu"), batch_size=32, limit_bytes=limit)
    outcomes = evaluate(classifier, CLEAN, Dataset("imagenet", samples))
    assert len(outcomes.correct) == count
    status = Path("/proc/self/status").read_text()
    peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)
print(json.dumps(peaks))
"""


def test_peak_memory_depends_on_the_batch_and_not_on_the_images(tmp_path):
    """Where no pixels may be kept: 2880 more images of 224 px, 434 MB, cost less than a quarter of that."""
    command = [sys.executable, "-c", GROWTH, str(tmp_path), "1", "320", "3200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout)
    assert many - few < 434 / 4
