"""Folders as archives leave them, above or below the one that is read: found, or named."""

import shutil

import pytest

from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import class_list
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError

MINI = class_list("mini")
FIRST, SECOND = MINI.keys[:2]


def load(data, folder, part=""):
    return data_sets.load(data, str(folder), MINI, part)


@pytest.fixture
def put(image_folder):
    """Class folders with an image each, at a place."""

    def write(place, *keys):
        return image_folder(dict.fromkeys(keys or (FIRST, SECOND), 1), place)

    return write


@pytest.mark.parametrize("place", ["c/fog/1", "c/weather/fog/1"])
def test_corruptions_lie_in_their_groups_or_not(put, tmp_path, place):
    put(place)
    put("c/blur/motion_blur/1")
    assert [sample.id for sample in load("imagenet-c", tmp_path / "c", "fog/1").samples] == [
        f"{FIRST}/0.png",
        f"{SECOND}/0.png",
    ]


@pytest.mark.parametrize("named", [".", "c/blur"])
def test_the_folder_above_the_groups_is_named(put, tmp_path, named):
    put("c/weather/fog/1")
    put("c/blur/motion_blur/1")
    with pytest.raises(InputError, match=f"has no folder fog/1; name {tmp_path / 'c'} in the suite"):
        load("imagenet-c", tmp_path / named, "fog/1")


def test_two_folders_of_a_condition_are_named(put, tmp_path):
    put("c/a/fog/1")
    put("c/b/fog/1")
    with pytest.raises(InputError, match=r"a/fog/1 and .*b/fog/1 could both be meant"):
        load("imagenet-c", tmp_path / "c", "fog/1")


def test_a_condition_that_is_nowhere(put, tmp_path):
    put("c/fog/1")
    with pytest.raises(InputError, match=r"there is no folder .*c/snow/1; correct 'imagenet-c'"):
        load("imagenet-c", tmp_path / "c", "snow/1")


@pytest.mark.parametrize("named", [".", "objectnet-1.0/images"])
def test_objectnet_as_its_archive_has_it(tmp_path, named):
    shutil.copytree(mini_folder("objectnet"), tmp_path / "objectnet-1.0")
    with pytest.raises(InputError, match=f"has no folder 'images'; name {tmp_path / 'objectnet-1.0'} in the suite"):
        load("objectnet", tmp_path / named)
    with pytest.raises(InputError, match=f"name {tmp_path / 'objectnet-1.0'} in the suite"):
        data_sets.load("objectnet", str(tmp_path / named), MINI, "all names")


@pytest.mark.parametrize(
    "place", ["val", "imagenetv2-matched-frequency-format-val", "ILSVRC/Data/CLS-LOC/val", "data/validation"]
)
@pytest.mark.parametrize("numbered", [False, True])
def test_class_folders_that_lie_deeper_are_named(put, tmp_path, place, numbered):
    put(f"set/{place}", *(("0", "1") if numbered else ()))
    put(f"set/{place}/../train")
    with pytest.raises(
        InputError, match=f"its class folders are in {tmp_path / 'set' / place}, name that in the suite"
    ):
        load("imagenet", tmp_path / "set")


def test_unpacked_images_that_lie_deeper_are_named(put, tmp_path):
    """Kaggle's archive has class folders for training alone."""
    images = put("set/ILSVRC/Data/CLS-LOC/train").parent / "val"
    images.mkdir()
    shutil.copy(images.parent / "train" / FIRST / "0.png", images / "ILSVRC2012_val_00000001.png")
    with pytest.raises(InputError, match=rf"images without class folders need .*\"flat:{images}\?labels=LOC_val"):
        load("imagenet", tmp_path / "set")


@pytest.mark.parametrize("place", ["set/fog/1/x", "set/zebra", "set/zebra/deep"])
def test_other_folders_are_no_class_folders(put, tmp_path, place):
    """Not severities, and not the folders of other classes."""
    put(place, *(str(n) for n in range(1, 6)))
    with pytest.raises(InputError, match=r"is not a class of 'mini' \(1 of 1 folders are not\); (?!its|images)"):
        load("imagenet", tmp_path / "set")
