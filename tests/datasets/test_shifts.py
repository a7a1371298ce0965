"""Test sets beyond the benchmark, on tiny folders in the layouts in which they are published."""

import numpy as np
import pytest
from PIL import Image

from clip_robustness import suites
from clip_robustness.conditions.condition import condition_of, natural, reference
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.load import load
from clip_robustness.errors import InputError
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.verdicts.limits import gap

MINI, IMAGENET = class_list("mini"), class_list("imagenet")


@pytest.fixture
def write(tmp_path):
    """Grey pictures under these names in a folder, which it gives."""

    def write(*files):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / file)
        return str(tmp_path)

    return write


def animals(write, *others):
    name = MINI.names[7]
    return write(f"LAION-final/7 {name}/common-grass/a.jpg", f"LAION-final/7 {name}/counter-snow/b.jpg", *others)


@pytest.mark.parametrize(("part", "file"), [("easy", "common-grass/a.jpg"), ("hard", "counter-snow/b.jpg")])
def test_counteranimal_has_two_groups(write, part, file):
    (sample,) = load("counteranimal", animals(write), MINI, part).samples
    assert sample.id == f"7 {MINI.names[7]}/{file}"
    assert sample.label == 7
    assert sample.path.is_file()


def test_a_class_of_counteranimal_without_its_pair(write):
    folder = animals(write, "LAION-final/8 car/common-road/c.jpg")
    assert len(load("counteranimal", folder, MINI, "easy")) == 2
    with pytest.raises(InputError, match="8 car should be called <number> <name> and hold a folder common-"):
        load("counteranimal", folder, MINI, "hard")


def test_what_counteranimal_calls_its_numbers_is_checked(write):
    folder = write(f"3 {MINI.names[7]}/common-grass/a.jpg", f"3 {MINI.names[7]}/counter-snow/b.jpg")
    with pytest.raises(InputError, match="is another class than number 3"):
        load("counteranimal", folder, MINI, "easy")


def test_less_than_was_published_is_said(write):
    warnings = load(
        "counteranimal", write("7 cock/common-a/1.jpg", "7 cock/counter-b/1.jpg"), IMAGENET, "hard"
    ).warnings
    assert "data set 'counteranimal', hard: 1 images, 5926 were published" in warnings
    assert "data set 'counteranimal', hard: images of 1 of 45 classes" in warnings


def test_any_class_of_an_object_of_imagenet_d_is_right(write):
    images = load("imagenet-d", write("texture/chair/1.png", "texture/mug/1.png"), IMAGENET, "texture")
    assert [sample.accepted for sample in images.samples] == [(423, 559, 765), (504,)]


def test_a_folder_that_is_no_object_of_imagenet_d(write):
    with pytest.raises(InputError, match="material/chairs is none of its 113 objects; did you mean 'chair'"):
        load("imagenet-d", write("material/chairs/1.png"), IMAGENET, "material")


def test_the_hard_images_are_compared_with_the_easy_ones():
    assert reference(natural("counteranimal-hard")) == natural("counteranimal-easy")
    assert condition_of("counteranimal-hard").data == "counteranimal"


def outcomes(ids, correct):
    labels = np.zeros(len(ids), int)
    return Outcomes(tuple(ids), labels, np.where(correct, 0, 1), np.array(correct, bool))


def test_the_gap_is_of_different_images():
    easy, hard = outcomes("abcd", [1, 1, 1, 0]), outcomes("efgh", [1, 0, 0, 0])
    found = gap(natural("counteranimal-hard"), hard, easy)
    assert found.value == -0.5
    assert -1 <= found.low < found.value < found.high


@pytest.mark.parametrize(
    ("names", "data", "said"),
    [
        ("counteranimal-hard", "counteranimal", None),
        ("counteranimal-heard", "counteranimal", "no data set 'counteranimal-heard' under .*'counteranimal-hard'"),
        ("counteranimal", "counteranimal", "'counteranimal' is no natural shift"),
    ],
)
def test_suites_name_the_parts_of_a_set(tmp_path, names, data, said):
    file = tmp_path / "s.toml"
    file.write_text(
        f'classes = "mini"\ncandidate = ["mini:clip"]\n[data]\nimagenet = "mini:imagenet"\n{data} = "x"\n'
        f'[conditions]\nnatural = ["{names}"]\n'
    )
    if said is None:
        paths = [condition.path for condition in suites.load(str(file)).conditions]
        assert paths == ["clean/clean", "natural/counteranimal-easy", "natural/counteranimal-hard"]
        return
    with pytest.raises(InputError, match=said):
        suites.load(str(file))
