"""The version of the code that an outcome depends on: all that runs for it is in it, and an edit changes it for those
who use what was edited alone."""

import ast
import importlib
import importlib.metadata
import sys
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import CenterCrop, Compose, Resize

from clip_robustness import models
from clip_robustness.conditions.attacks.apgd import APGD
from clip_robustness.conditions.attacks.fab import FAB
from clip_robustness.conditions.attacks.square import Square
from clip_robustness.conditions.benchmark import ATTACKS
from clip_robustness.conditions.condition import CLEAN, attack, corruption, perturbation, stylized
from clip_robustness.conditions.kind import load
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import Dataset, Sample, read_folder, subsample
from clip_robustness.datasets.mp4 import write_video
from clip_robustness.evaluation import fingerprint
from clip_robustness.evaluation.evaluator import Evaluator, cell_key
from clip_robustness.evaluation.fingerprint import code, code_version
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import code as slicing
from clip_robustness.models import code_digest
from clip_robustness.models.classifier import Classifier, to_tensor
from clip_robustness.models.loading import ToRGB
from tests import ROOT

MINI = class_list("mini")
CPU = torch.device("cpu")
FAST = [name for name in ATTACKS if name not in ("nes", "spsa", "typographic")]
CONDITIONS = [
    CLEAN,
    *(corruption(name, 3) for name in ("shot_noise", "motion_blur", "frost", "fog", "contrast", "pixelate")),
    *(perturbation(name) for name in ("shot_noise", "snow", "tilt")),
    perturbation("tilt", on_disk=True),
    stylized("stylized-local"),
    *(attack(name, "2/255") for name in FAST),
    attack("nes", "2/255", pairs=2),
    attack("spsa", "2/255", pairs=2),
    attack("bim", "2/255", rounded=True),
    attack("bim", "2/255", normalized=True),
    attack("mim", "min"),
    attack("transfer-fgsm", "min"),
    attack("typographic"),
    attack("universal", "2/255"),
    *(attack(name, "2/255") for name in ("pgd", "apgd-ce", "apgd-t", "fab", "square", "autoattack")),
    attack("torchattacks:FGSM", "2/255"),
    attack("caption:a photo of a key", "2/255"),
]


def executed(run):
    """Definitions of the suite's modules that `run` executes code of, as 'module.name'."""
    seen, own, others = defaultdict(set), f"{ROOT}/", (f"{ROOT}/.venv/", f"{ROOT}/tests/")

    def note(frame, event, _):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(own) and not file.startswith(others):
            seen[file].add(frame.f_code.co_firstlineno)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    found = set()
    for file in list(seen):  # a thread may still run
        lines, source = sorted(seen[file]), ROOT / "src"
        path = Path(file).relative_to(source if Path(file).is_relative_to(source) else ROOT)
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for statement in ast.parse(Path(file).read_text()).body:
            first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
            if any(first <= line <= statement.end_lineno for line in lines):
                found |= {f"{module}.{name}" for name in slicing._targets(statement)}
    return found


def counted(units):
    """Those that should count. Of conditions it is the values that their properties have."""
    left_out = (
        *slicing._NO_FIGURES,
        *fingerprint._NO_FIGURES,
        "clip_robustness.models.spec.selectable",
    )
    return {unit for unit in units if not f"{unit}.".startswith(tuple(f"{name}." for name in left_out))}


def tiny(side=32, **options):
    """A linear model over the drawn world's classes."""
    net = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(3 * (side // 8) ** 2, 24))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    plain = {"classes": MINI, "geometry": Compose([ToRGB(), Resize(side), CenterCrop(side)]), "fingerprint": "tiny"}
    return Classifier(net, name="tiny", image_size=side, mean=(0, 0, 0), std=(1, 1, 1), **plain | options)


@pytest.fixture(scope="module")
def images():
    """Labelled as the model sees them: an image that is wrong when clean is not attacked."""
    some = subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 8, seed=0)
    with torch.no_grad():
        seen = torch.stack([to_tensor(np.asarray(tiny().geometry(sample.image())), CPU) for sample in some.samples])
        labels = tiny()(seen).argmax(1).tolist()
    return replace(some, samples=tuple(replace(i, label=n) for i, n in zip(some.samples, labels, strict=True)))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.id)
def test_all_that_runs_for_a_condition_is_in_its_version(tmp_path, images, condition, monkeypatch):
    surrogate = None
    for method in (APGD, FAB, Square):  # beyond the first checkpoint all of their steps run the same
        monkeypatch.setattr(method, "steps", lambda self, eps: 30)
    if condition != attack("universal", "2/255"):  # which needs images in both halves
        images = replace(images, samples=images.samples[:2])
    if condition.name == "imagenet-p-disk":
        write_video(tmp_path / "0.mp4", np.zeros((4, 32, 32, 3), np.uint8))
        images = Dataset("imagenet-p", (Sample("0.mp4", tmp_path / "0.mp4", 0),))
    if condition.kind.crafted_on == "text":
        surrogate = tiny(classes=ClassList("caption", *[(condition.text, "a photo")] * 2))
    if condition.kind.crafted_on == "surrogate":
        surrogate = tiny(side=40)
    evaluate = Evaluator(None, device=CPU, batch_size=4)
    for name in condition.code:
        load(name)  # what runs when it is imported is no part of the run
    ran = executed(lambda: evaluate.answers(tiny(), condition, images, surrogate, range(len(images))))
    assert len(ran) > 10
    assert counted(ran) - code(condition).units.keys() == set()


@pytest.mark.parametrize("spec", ["mini:clip", "mini:supervised", "python:tests.evaluation.test_memory:python_limited"])
def test_all_that_builds_a_model_is_in_its_version(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    kind, module, _ = f"{spec}:".split(":", 2)
    if kind == "python":
        importlib.import_module(module)  # what runs when it is imported is no part of the run
    ran = executed(lambda: models.load(spec, MINI))
    assert len(ran) > 10
    assert counted(ran) - models.code_behind(f"{kind}:{module}" if kind == "python" else kind).units.keys() == set()


def test_conditions_of_one_computation_have_one_version():
    """DeepFool's smallest eps is read at any; frames in order are compared at any step."""
    deepfool = [attack("deepfool", eps) for eps in ("1/255", "2/255", "min")]
    tilts = [perturbation("tilt", difficulty) for difficulty in (1, 2, 3)]
    noise = [perturbation("gaussian_noise", difficulty) for difficulty in (1, 2, 3)]
    assert [len({code_version(c) for c in of}) for of in (deepfool, tilts)] == [1, 1]
    assert len({c.computation for c in noise}) == 3


def forget(*more):
    for known in (slicing._module, slicing._file, code_digest.sources, code_version, *more):
        known.cache_clear()


@pytest.fixture
def edited(monkeypatch):
    """Edit a file of the suite, in memory."""

    def edit(name, before, after):
        file, read = ROOT / name, Path.read_bytes
        content = read(file)
        assert content.count(before) >= 1
        monkeypatch.setattr(
            Path, "read_bytes", lambda path: content.replace(before, after) if path.samefile(file) else read(path)
        )
        forget()

    yield edit
    monkeypatch.undo()
    forget()


def concerned(edit):
    """Ids of the conditions whose version an edit changes."""
    before = {condition: code_version(condition) for condition in CONDITIONS}
    edit()
    return {condition.id for condition in CONDITIONS if code_version(condition) != before[condition]}


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("src/clip_robustness/conditions/attacks/deepfool.py", b"1e-4", b"1e-5", lambda c: c.name == "deepfool"),
        (
            "src/clip_robustness/conditions/attacks/gradient.py",
            b"MIM = SignSteps(20",
            b"MIM = SignSteps(30",
            lambda c: c.name == "mim",
        ),
        (
            "src/clip_robustness/conditions/attacks/transfer.py",
            b"clamp(0, 1)",
            b"clamp(0, 0.9)",
            lambda c: c.kind.crafted_on == "surrogate",
        ),
        (
            "src/clip_robustness/conditions/attacks/smallest_eps.py",
            b"2 / 255",
            b"3 / 255",
            lambda c: c.searched,
        ),
        (
            "src/clip_robustness/conditions/attacks/loop.py",
            b"active.step + 1",
            b"active.step + 2",
            lambda c: c.kind.attack and c.name not in ("typographic", "universal", "torchattacks:FGSM"),
        ),
        (
            "src/clip_robustness/conditions/corruptions/weather.py",
            b"(2.5, 1.7)",
            b"(2.6, 1.7)",
            lambda c: c.id == "imagenet-c-fog-3",
        ),
        (
            "src/clip_robustness/conditions/corruptions/noise.py",
            b"np.arange(256)",
            b"np.arange(255)",
            lambda c: "shot_noise" in c.id,
        ),
        ("src/clip_robustness/datasets/mp4.py", b"rgb24", b"bgr24", lambda c: c.name == "imagenet-p-disk"),
        ("src/clip_robustness/metrics/flips.py", b"noise", b"silence", lambda c: c.kind.is_sequence),
        ("src/clip_robustness/datasets/dataset.py", b"width - self.border", b"width", lambda c: True),
        ("models/classifier.py", b"self.mean) / self.std", b"self.mean) * self.std", lambda c: True),
        (
            "src/clip_robustness/conditions/condition.py",
            b"DIFFICULTIES = (1, 2, 3)",
            b"DIFFICULTIES = (1, 2)",
            lambda c: False,
        ),
        ("src/clip_robustness/conditions/attacks/gradient.py", b"passes=(1, 5)", b"passes=(1, 6)", lambda c: False),
        (
            "src/clip_robustness/conditions/attacks/runners/transferred.py",
            b"samples[i] for i in missing",
            b"samples[0] for i in missing",
            lambda c: c.kind.crafted_on == "surrogate" and not c.searched,
        ),
        ("src/clip_robustness/evaluation/store/block.py", b"1 << 28", b"1 << 29", lambda c: False),
        ("reports/html.py", b"def ", b"def  ", lambda c: False),
        ("src/clip_robustness/conditions/corruptions/weather.py", b"def fog(", b"# mist\ndef fog(", lambda c: False),
    ],
)
def test_an_edit_concerns_who_uses_what_was_edited(edited, file, before, after, expected):
    found = concerned(lambda: edited(file, before, after))
    assert found == {condition.id for condition in CONDITIONS if expected(condition)}


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("opencv-python-headless", lambda c: c.id in ("imagenet-c-contrast-3", "stylized-local")),
        ("av", lambda c: c.name == "imagenet-p-disk"),
        ("torch", lambda c: True),
        ("pillow", lambda c: True),
        ("transformers", lambda c: False),
        ("filelock", lambda c: False),
    ],
)
def test_a_library_concerns_who_uses_it(monkeypatch, library, expected):
    version = importlib.metadata.version

    def another():
        monkeypatch.setattr(importlib.metadata, "version", lambda n: "0.1" if n == library else version(n))
        forget(slicing._versions)

    some = [CLEAN, corruption("contrast", 3), corruption("fog", 3), stylized("stylized-local"), attack("bim", "2/255")]
    some += [perturbation("tilt", on_disk=True)]
    found = concerned(another)
    monkeypatch.undo()
    forget(slicing._versions)
    assert {c.id for c in some if c.id in found} == {c.id for c in some if expected(c)}


def test_versions_of_all_libraries_that_are_used_are_known():
    used = {library for condition in CONDITIONS for library in code(condition).libraries}
    used |= {library for kind in ("open_clip", "timm", "torchvision") for library in models.code_behind(kind).libraries}
    assert {"torchattacks", "scipy", "cv2", "av", "transformers", "tokenizers", "open_clip", "timm"} <= used
    assert {library for library in used if not slicing._versions(library)} == set()


def test_a_users_factory_counts_with_the_modules_that_it_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ours").mkdir()
    for name, text in {
        "__init__.py": "from ours.nets import make\n",
        "nets.py": "import ours.registered\nfrom . import blocks\nTABLE = {}\ndef make(*_): return blocks.block()\n",
        "blocks.py": "def block(): return 1\n",
        "registered.py": "from ours.nets import TABLE\n@TABLE.setdefault\ndef net(): return 1\n",
        "unused.py": "x = 1\n",
    }.items():
        (tmp_path / "ours" / name).write_text(text)

    def version():
        forget()
        return models.code_version("python:ours")

    first = version()
    for name in ("nets.py", "blocks.py", "registered.py"):
        before = version()
        with (tmp_path / "ours" / name).open("a") as file:
            file.write("y = 2\n")
        assert version() != before
    before = version()
    (tmp_path / "ours" / "unused.py").write_text("x = 2\n")
    assert version() == before != first


def test_the_key_of_a_cell_tells_model_builder_and_device_apart():
    images, one, other = Dataset("imagenet", ()), tiny(), tiny()
    other.code = "another"
    keys = {cell_key(model, CLEAN, images, 0, device) for model in (one, other) for device in ("cpu", "cuda")}
    assert len(keys) == 4


def test_other_weights_of_a_factory_are_another_model(monkeypatch):
    def factory(spec, classes, device):
        return tiny(classes=classes)

    monkeypatch.setattr(sys.modules[__name__], "factory", factory, raising=False)
    spec = f"python:{__name__}:factory"
    before = models.load(spec, MINI).fingerprint
    assert models.load(spec, MINI).fingerprint == before
    original = tiny
    monkeypatch.setattr(sys.modules[__name__], "tiny", lambda **o: brighter(original(**o)))
    assert models.load(spec, MINI).fingerprint != before


def brighter(model):
    model.net[2].bias.data += 1
    return model
