"""The natural shifts read from disk: layouts, class spaces, counts, and what is wrong with a folder."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import subsample
from clip_robustness.mini.data import mini_folder
from clip_robustness.mini.sets import picture
from clip_robustness.models import InputError

MINI, IMAGENET = class_list("mini"), class_list("imagenet")
REAL = os.environ.get("CLIP_ROBUSTNESS_TEST_DATA", "")


def load(name, folder=None):
    return data_sets.load(name, str(folder or mini_folder(name)), MINI)


@pytest.fixture
def objectnet(tmp_path):
    return shutil.copytree(mini_folder("objectnet"), tmp_path / "objectnet")


@pytest.mark.parametrize(
    ("name", "images", "classes"),
    [
        ("imagenet", 480, 24),
        ("imagenet-v2", 480, 24),
        ("imagenet-sketch", 480, 24),
        ("imagenet-r", 240, 16),
        ("imagenet-a", 240, 12),
        ("objectnet", 240, 12),
        ("imagenet-vid-robust", 1425, 8),
        ("ytbb-robust", 1425, 9),
    ],
)
def test_the_drawn_sets_are_complete(name, images, classes):
    found = load(name)
    assert (len(found), len(found.space), found.warnings) == (images, classes, ())
    assert {sample.label for sample in found.samples} == {i for i, members in enumerate(found.space.members) if members}


def test_labels_of_a_subset_count_its_own_classes():
    """m00000004 is class 4 of the models and the third of imagenet-a's classes 0, 2, 4, ..."""
    assert {i.label for i in load("imagenet-a").samples if i.id.startswith("m00000004/")} == {2}


def test_a_folder_outside_the_subset_is_named(image_folder):
    with pytest.raises(InputError, match="m00000001 is not a class of 'imagenet-a'"):
        load("imagenet-a", image_folder({"m00000000": 1, "m00000001": 1}))


def test_objectnet_without_its_border_is_the_drawn_picture():
    sample = next(i for i in load("objectnet").samples if i.id == "images/bicycle/00004.png")
    with Image.open(sample.path) as framed:
        assert framed.mode == "RGBA"
        assert framed.size == (68, 68)
        edges = np.asarray(framed.convert("RGB"))
    assert (edges[:2] == (255, 0, 0)).all()
    assert np.array_equal(np.asarray(sample.image().convert("RGB")), picture("objectnet", 4)[0])


def test_objectnet_leaves_out_the_classes_that_no_model_has():
    assert (mini_folder("objectnet") / "images" / "sign").is_dir()
    assert not any("/sign/" in sample.id for sample in load("objectnet").samples)


def test_objectnet_follows_its_own_mappings(objectnet):
    file = objectnet / "mappings" / "objectnet_to_imagenet_1k.json"
    names = json.loads(file.read_text())
    assert names["Fruit"] == "apple; banana"
    assert {MINI.names[i] for i in load("objectnet", objectnet).space.members[5]} == {"apple", "banana"}
    file.write_text(json.dumps(names | {"Fruit": "banana"}))
    assert {MINI.names[i] for i in load("objectnet", objectnet).space.members[5]} == {"banana"}
    file.write_text(json.dumps(names | {"Fruit": "mango"}))
    with pytest.raises(InputError, match="'mango' is no class of 'mini'"):
        load("objectnet", objectnet)
    shutil.rmtree(file.parent)
    assert {MINI.names[i] for i in load("objectnet", objectnet).space.members[5]} == {"apple", "banana"}


def test_objectnet_names_what_is_missing_or_unknown(objectnet):
    (objectnet / "images" / "spaceship").mkdir()
    with pytest.raises(InputError, match="spaceship is not a class of 'objectnet'"):
        load("objectnet", objectnet)
    with pytest.raises(InputError, match="has no folder 'images'"):
        load("objectnet", objectnet / "images")


def test_the_published_names_of_objectnet_are_classes_of_imagenet(tmp_path):
    """The mapping files call ImageNet's classes by all words of the synset, several classes apart by semicolons."""
    (tmp_path / "mappings").mkdir()
    labels, names = {"alarm_clock": "Alarm clock"}, {"Alarm clock": "analog clock; digital clock"}
    (tmp_path / "mappings" / "folder_to_objectnet_label.json").write_text(json.dumps(labels))
    (tmp_path / "mappings" / "objectnet_to_imagenet_1k.json").write_text(json.dumps(names))
    assert data_sets.space_of("objectnet", str(tmp_path), IMAGENET).members == ((409, 530),)


@pytest.mark.skipif(not REAL, reason="CLIP_ROBUSTNESS_TEST_DATA names no folder with real images")
def test_real_objectnet_images():
    found = data_sets.load("objectnet", f"{REAL}/objectnet-sample", IMAGENET)
    assert {sample.image().size for sample in found.samples} == {
        tuple(side - 4 for side in Image.open(sample.path).size) for sample in found.samples
    }
    for sample in found.samples:
        assert not (np.asarray(sample.image().convert("RGB"))[0] == (255, 0, 0)).all()
    assert found.warnings == (
        "data set 'objectnet': 5 images, 18574 were published",
        "data set 'objectnet': images of 5 of 113 classes",
    )


def test_counts_that_differ_from_the_published_ones_are_said_with_both_numbers(image_folder):
    found = load("imagenet-a", image_folder({"m00000000": 3, "m00000002": 1}))
    assert found.warnings == (
        "data set 'imagenet-a': 4 images, 240 were published",
        "data set 'imagenet-a': images of 2 of 12 classes",
    )


def test_the_clean_reference_has_the_classes_of_the_shift():
    clean, space = load("imagenet"), load("objectnet").space
    reference = data_sets.relabelled(space, subsample(data_sets.only_classes_of(space, clean), 28, 0))
    assert len(reference) == 28
    for sample in reference.samples:
        own = MINI.keys.index(sample.id.partition("/")[0])
        assert own in space.members[sample.label]


def test_the_clean_reference_keeps_those_of_several_labels_that_the_shift_has(image_folder):
    """Of imagenet-a's classes, every second one, in its numbers; an image of none of them stays out."""
    clean, space = load("imagenet", image_folder({"m00000001": 4})), load("imagenet-a").space
    labels = [(1, 4), (6, 1), (1, 3), (2, 4)]
    some = [replace(s, label=one, also=tuple(also)) for s, (one, *also) in zip(clean.samples, labels, strict=True)]
    reference = data_sets.relabelled(space, data_sets.only_classes_of(space, replace(clean, samples=tuple(some))))
    assert [sample.accepted for sample in reference.samples] == [(2,), (3,), (1, 2)]
    assert [sample.id[-5:] for sample in reference.samples] == ["0.png", "1.png", "3.png"]


def test_a_link_in_a_circle_is_named_before_it_is_followed(image_folder):
    folder = image_folder({"m00000000": 1})
    (folder / "m00000000" / "again").symlink_to(folder)
    with pytest.raises(InputError, match="again leads back to a folder that it is in; remove it"):
        load("imagenet", folder)


def test_links_that_lead_elsewhere_are_followed(image_folder, tmp_path):
    folder = image_folder({"m00000000": 2})
    (folder / "m00000001").symlink_to(image_folder({"x": 3}, "elsewhere") / "x")
    assert len(load("imagenet", folder)) == 5


def test_all_names_of_objectnet_are_those_of_its_folders(objectnet):
    images = data_sets.load("objectnet", str(objectnet), MINI, "all names")
    names = images.classes
    assert (len(names), len(images), images.warnings) == (13, 252, ())
    assert names.names[names.keys.index("book_open")] == "Book open"
    assert {sample.border for sample in images.samples} == {2}
    assert {names.keys[sample.label] for sample in images.samples} == set(names.keys)
    shutil.rmtree(objectnet / "mappings")
    without = data_sets.load("objectnet", str(objectnet), MINI, "all names").classes
    assert (without.keys, without.names[1]) == (names.keys, "book open")


def test_all_names_of_objectnet_need_no_class_of_the_models(objectnet):
    one = ClassList("one", ("n1",), ("unicorn",), MINI.prompts)
    assert len(data_sets.load("objectnet", str(objectnet), one, "all names").classes) == 13
    with pytest.raises(InputError, match="is no class of 'one'"):
        data_sets.load("objectnet", str(objectnet), one)


def test_objectnet_has_313_names():
    published = data_sets.facts("objectnet", IMAGENET)
    assert len({*published["classes"], *published["other folders"]}) == 313
