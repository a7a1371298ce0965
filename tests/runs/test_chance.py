"""Cells that measure nothing: wrong labels and broken models are errors, whatever the rules say; hard sets are none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clip_robustness.conditions.condition import CLEAN, attack, corruption, natural
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.datasets.label_space import class_space
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.mini.data import mini_folder
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.spec import parse
from clip_robustness.suites import load
from clip_robustness.verdicts.measure import measure
from tests.conftest import write_overlap

NUMBERS = range(0, 1000, 10)
IMAGENET = class_list("imagenet")


def reader(spec, classes, device):
    """Predicts the class whose number is written in red and green; options make it predict the next one, or take blue
    for red."""
    given = dict(spec.given)

    class Net(nn.Module):
        def forward(self, images):
            red = images[:, 2 if "bgr" in given else 0, 0, 0]
            number = (red + 256 * images[:, 1, 0, 0]) * 255
            number = number + ("next" in given)
            return -(number[:, None] - torch.arange(float(len(classes)))).abs() + 0 * images.sum((1, 2, 3))[:, None]

    return Classifier(
        Net(), name=spec.text, classes=classes, image_size=32, geometry=lambda image: image.convert("RGB"),
        mean=(0, 0, 0), std=(1, 1, 1), fingerprint=spec.text,
    )  # fmt: skip


READER = "python:tests.runs.test_chance:reader"


@pytest.fixture
def write(tmp_path):
    """Write images of classes into the folders of others: (number, key of the folder)."""

    def pictures(data, pairs):
        for i, (number, key) in enumerate(pairs):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[..., 0], pixels[..., 1] = number % 256, number // 256
            (tmp_path / data / key).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / data / key / f"{i}.png")

    return pictures


@pytest.fixture
def measured(tmp_path):
    """Measure a condition; returns the candidate's row, or that of the baseline."""

    def row(
        condition, rules="", *, candidate=READER, supervised=READER, surrogate=None, classes="imagenet", of=0, **changes
    ):
        data = "\n".join(f'{p.name} = "{p.name}"' for p in tmp_path.iterdir() if p.is_dir() and p.name != "run")
        rules = rules or '[[rules]]\nmatch = "*"\nmax_drop_vs_supervised = 0.05\n'
        head = f'classes = "{classes}"\n[data]\n{data}\n[conditions]\nnatural = ["imagenet-v2"]\n'
        (tmp_path / "suite.toml").write_text(head + rules)
        specs = [parse(text) if text else None for text in (candidate, supervised, surrogate)]
        file = tmp_path / "run" / "reports"
        settings = Settings(
            load(str(tmp_path / "suite.toml")), (specs[0],), (specs[1],), specs[2], None, 0, "cpu", 64, file, False
        )
        return measure(Session(replace(settings, **changes)), Cell(specs[0], condition), "test")[of]

    return row


def right(number):
    return IMAGENET.keys[number]


def from_one(number):
    return IMAGENET.keys[number + 1]


def as_strings(number):
    return IMAGENET.keys[sorted(map(str, range(1000))).index(str(number))]


def random_order(number):
    return IMAGENET.keys[np.random.default_rng(0).permutation(1000)[number]]


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        (from_one, "with labels shifted by one (as if numbered from 1) the accuracy would be 100.0%"),
        (as_strings, "with labels in the order of numbers sorted as strings (0, 1, 10, ...) the accuracy would be 100"),
        (random_order, "with labels in another order, the one that fits other images best, the accuracy would be 100"),
    ],
)
def test_labels_in_another_order_are_errors_of_all_that_stands_on_them(write, measured, folder, says):
    write("imagenet", [(number, folder(number)) for number in NUMBERS for _ in range(2)])
    write("imagenet-v2", [(number, right(number)) for number in NUMBERS])
    row = measured(CLEAN)
    assert (row.verdict, row.difference.value, row.checks) == ("error", 0, ())
    assert f"{READER} on clean" in row.reason
    assert says in row.reason
    for condition in (natural("imagenet-v2"), corruption("contrast", 1), attack("fgsm", "1/255")):
        row = measured(condition)
        assert row.verdict == "error"
        assert row.reason.startswith("compared with clean: ")


def test_a_shift_with_wrong_labels_is_an_error_and_its_clean_reference_is_none(write, measured):
    write("imagenet", [(number, right(number)) for number in NUMBERS])
    write("imagenet-v2", [(number, from_one(number)) for number in NUMBERS])
    row = measured(natural("imagenet-v2"))
    assert row.verdict == "error"
    assert "numbered from 1) the accuracy would be 100.0%; the published trend predicts" in row.reason
    assert measured(CLEAN).verdict != "error"


def test_neither_a_known_weakness_nor_report_only_nor_no_rule_excuse_it(write, measured):
    write("imagenet", [(number, from_one(number)) for number in NUMBERS])
    weak = '[[rules]]\nmatch = "*"\nmax_drop_vs_supervised = 0.05\nknown_weakness = "old"\n[gate]\nreport_only = true\n'
    for rules in (weak, '[[rules]]\nmatch = "natural/*"\nmin_accuracy = 0.5\n'):
        row = measured(CLEAN, rules)
        assert (row.verdict, row.allowed, row.passed) == ("error", False, False)


def test_a_baseline_says_that_its_figures_are_no_measurement_where_it_is_what_is_broken(write, measured):
    write("imagenet", [(number, right(number)) for number in NUMBERS])
    broken = f"{READER}?next=1"
    for candidate, supervised, wrong in ((READER, broken, True), (broken, READER, False)):
        row = measured(corruption("contrast", 1), candidate=candidate, supervised=supervised, of=1)
        assert row.verdict == "baseline"
        assert row.reason.startswith(f"{broken} on clean: the labels are wrong") == wrong
        assert (row.reason != "") == wrong


def test_a_broken_candidate_is_an_error_that_says_it_is_the_only_one(write, measured):
    write("imagenet", [(number, right(number)) for number in NUMBERS])
    row = measured(CLEAN, candidate=f"{READER}?next=1")
    assert row.verdict == "error"
    assert "not so with other models" in row.reason
    assert "numbered from 1" not in row.reason
    row = measured(corruption("contrast", 1), supervised=f"{READER}?next=1")
    assert (row.verdict, "compared with clean: " in row.reason, "?next=1 on clean" in row.reason) == (
        "error",
        True,
        True,
    )


def test_blue_for_red_is_named(write, measured):
    write("imagenet", [(number, right(number)) for number in NUMBERS if number % 256 > 20])
    row = measured(CLEAN, supervised=f"{READER}?bgr=1")
    assert row.verdict == "error"
    assert "with red and blue exchanged (BGR for RGB) the accuracy would be 100.0%" in row.reason


def test_a_surrogate_at_chance_makes_no_attack(write, measured):
    write("imagenet", [(number, right(number)) for number in NUMBERS])
    found = [measured(attack("transfer-fgsm", "1/255"), surrogate=s).verdict for s in (READER, f"{READER}?next=1")]
    assert found[0] != "error"
    assert found[1] == "error"


def test_a_set_that_was_filtered_against_the_model_is_no_error_but_a_warning(write, measured):
    """As imagenet-a is for a ResNet-50: 92% on the clean images of its classes, nothing on its own, where it takes each
    class for another. Of a model that has more than 97% there it is an error."""
    numbers = [members[0] for members in class_space("imagenet-a", IMAGENET).members]
    write("imagenet", [(numbers[i - 1] if i % 12 == 0 else numbers[i], right(numbers[i])) for i in range(200)])
    write("imagenet-a", [(numbers[(i + 7) % 200], right(numbers[i % 200])) for i in range(600)])
    row = measured(natural("imagenet-a"))
    assert row.verdict != "error"
    (warning,) = [w for w in row.warnings if "chance" in w]
    assert "not clearly above chance (guessing gets 0.5%); the published trend predicts 5." in warning
    write("imagenet", [(number, right(number)) for number in numbers for _ in range(2)])
    row = measured(natural("imagenet-a"))
    assert row.verdict == "error"
    assert "the one that fits other images best, the accuracy would be 100.0%" in row.reason


def test_a_shift_far_below_the_published_trend_is_warned_of(write, measured):
    """Two fifths of the labels are wrong."""
    write("imagenet", [(number, right(number)) for number in NUMBERS])
    write("imagenet-v2", [(n, (right, from_one)[i % 5 < 2](n)) for i, n in enumerate(NUMBERS)])
    row = measured(natural("imagenet-v2"))
    assert row.verdict != "error"
    (warning,) = [w for w in row.warnings if "trend" in w]
    assert "60 of 100 images are right" in warning
    assert "the published trend predicts 100.0% from 100.0% on the clean images" in warning


@pytest.fixture
def own_classes(tmp_path):
    names = ["zebra", "dog", "cat", "cow", "ant", "fox"]
    (tmp_path / "classes.txt").write_text("".join(f"k{i}\t{name}\n" for i, name in enumerate(names)))
    return names


def test_without_a_trend_a_shift_at_chance_is_an_error_and_names_in_another_order_are_found(
    write, measured, own_classes
):
    names = own_classes
    write("imagenet", [(i % 6, f"k{i % 6}") for i in range(24)])
    write("imagenet-v2", [(i % 6, f"k{sorted(names).index(names[i % 6])}") for i in range(24)])
    row = measured(natural("imagenet-v2"), classes="classes.txt")
    assert row.verdict == "error"
    assert "in the alphabetical order of the class names the accuracy would be 100.0%" in row.reason
    write("imagenet-sketch", [(0, f"k{i % 6}") for i in range(24)])
    row = measured(natural("imagenet-sketch"), classes="classes.txt")
    assert row.verdict == "error"
    assert "no usual numbering of the labels" in row.reason


@pytest.mark.usefixtures("own_classes")
def test_where_a_part_of_the_labels_is_shifted_it_is_a_warning(write, measured):
    write("imagenet", [(i % 5, f"k{i % 5 + (i % 8 < 5)}") for i in range(200)])
    row = measured(CLEAN, classes="classes.txt")
    assert row.verdict != "error"
    (warning,) = [w for w in row.warnings if "numbered from 1" in w]
    assert "75 of 200 images are right; with labels shifted by one" in warning


@pytest.mark.usefixtures("own_classes")
def test_a_part_that_settled_a_cell_early_is_not_at_chance_where_the_whole_is_not(write, measured, tmp_path):
    write("imagenet", [(i % 6, f"k{i % 6}") for i in range(24)])
    write("imagenet-v2", [(i % 6, f"k{i % 6}") for i in range(480)])
    keys = tuple(f"k{i}" for i in range(6))
    images = read_folder("imagenet-v2", tmp_path / "imagenet-v2", ClassList("own", keys, keys))
    for sample in subsample(images, 60, 0).samples:
        Image.new("RGB", (32, 32), (6, 0, 0)).save(sample.path)
    row = measured(
        natural("imagenet-v2"), '[[rules]]\nmatch = "*"\nmin_accuracy = 0.5\n', classes="classes.txt", stop_early=True
    )
    assert (row.verdict, row.n, row.correct) == ("fail", 60, 10)


@pytest.mark.usefixtures("own_classes")
def test_images_too_few_to_tell_are_no_pass(write, measured):
    rules = '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\n'
    write("imagenet", [(i, f"k{i}") for i in range(3)])
    row = measured(CLEAN, rules, classes="classes.txt")
    assert row.verdict == "inconclusive"
    assert "3 images are too few to tell a model from chance (guessing gets 17%)" in row.reason
    write("imagenet", [(i, f"k{i}") for i in range(6)])
    assert measured(CLEAN, rules, classes="classes.txt").verdict == "pass"


def test_a_candidate_with_names_in_another_order_errs_in_every_cell_and_in_the_exit_code(suite_run, toml, tmp_path):
    """Under a profile in which no verdict fails a test; nothing of it is recorded."""
    classes = class_list("mini")
    names = dict(zip(classes.keys, [*classes.names[1:], classes.names[0]], strict=True))
    (tmp_path / "names.json").write_text(json.dumps(names))
    suite = toml("""
classes = "mini"
candidate = ["mini:clip?class_names=names.json"]
supervised = ["mini:supervised"]
samples = 104
profile = "research"
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
[conditions]
natural = ["imagenet-v2"]
attacks = [{ names = ["fgsm"], eps = ["1/255"], samples = 8 }]
overlap = "overlap.json"
""")
    folders = {name: mini_folder(name) for name in ("imagenet", "imagenet-v2")}
    some = {name: [str(i.relative_to(of)) for i in sorted(of.rglob("*.png"))[::4]] for name, of in folders.items()}
    write_overlap(tmp_path / "overlap.json", some)
    run = suite_run(f"--suite={suite}", "--record", "one")
    cells = [cell for cell in run.cells if cell["role"] == "candidate"]
    assert run.code == 1
    assert [cell["verdict"] for cell in cells] == ["error"] * 5
    assert all("with labels shifted by one" in c["reason"] for c in cells)
    assert "5 error" in run.output
    assert "recorded" not in run.output
