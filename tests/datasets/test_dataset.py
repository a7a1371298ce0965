import copy
import os
import pickle
import random
import tracemalloc
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import Dataset, Sample, image_rng, read_folder, read_image, subsample
from clip_robustness.evaluation.file_stamps import FileStamps
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError

MINI = class_list("mini")


@pytest.mark.parametrize("path", ["/data/n01/a b.jpg", "n01/a b.jpg", "/data/other.jpg", "/data/xn01/a b.jpg"])
def test_a_sample_has_the_path_that_it_was_given(path):
    sample = Sample("n01/a b.jpg", Path(path), 3)
    renamed = replace(sample, id="of another name")
    for same in (sample, pickle.loads(pickle.dumps(sample)), copy.deepcopy(sample), replace(renamed, id=sample.id)):
        assert (same, hash(same), same.path) == (sample, hash(sample), Path(path))
    assert renamed.path == Path(path)
    assert replace(sample, path=Path("/elsewhere")) != sample
    with pytest.raises(FrozenInstanceError):
        sample.path = Path("/elsewhere")


def test_an_image_takes_few_bytes_and_its_folder_is_kept_once(tmp_path):
    """A process lists all images of all sets."""
    root, count = tmp_path / ("n" * 100), 2000
    tracemalloc.start()
    samples = [Sample(f"n01440764/ILSVRC2012_val_{i:08d}.JPEG", root / f"n01440764/{i}.JPEG", i) for i in range(9)]
    before, _ = tracemalloc.get_traced_memory()
    for i in range(count):
        name = f"n01440764/ILSVRC2012_val_{i:08d}.JPEG"
        samples.append(Sample(name, root / name, 3))
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert took / count < 300


def test_files_keep_their_stamp_of_first_sight(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"1")
    here = Sample("a/b.jpg", tmp_path / "a/b.jpg", 0)
    table = Sample("row 1", tmp_path / "a/b.jpg", 0, content=lambda: b"row")
    watch = FileStamps()
    before = watch.stamps([here, table])
    assert (set(before), len(set(before.values()))) == ({"a/b.jpg", "row 1"}, 1)
    assert watch.digest(here, before[here.id]) != watch.digest(table, before[table.id])
    (tmp_path / "a" / "b.jpg").write_bytes(b"22")
    assert watch.stamps([here, table]) == before
    assert watch.changed([here, table]) == ["a/b.jpg", "row 1"]


def test_class_folders_named_by_number_are_read_by_number(image_folder):
    """ImageNet-V2's trap: sorted as text, '10' comes before '2'."""
    images = read_folder("imagenet-v2", image_folder({"0": 1, "2": 1, "10": 1}), MINI)
    assert {sample.id: sample.label for sample in images.samples} == {"0/0.png": 0, "10/0.png": 10, "2/0.png": 2}


def test_folders_named_by_keys_that_are_numbers_are_these_keys(image_folder):
    """Four of five classes, called 1 to 5: folder 1 is the first of them."""
    classes = ClassList("numbered", tuple("12345"), ("one", "two", "three", "four", "five"))
    images = read_folder("imagenet", image_folder({"1": 1, "2": 1, "4": 1, "5": 1}), classes)
    assert [sample.label for sample in images.samples] == [0, 1, 3, 4]
    with pytest.raises(InputError, match=r"0 is not a class of 'numbered' \(1 of 5 folders are not\)"):
        read_folder("imagenet", image_folder({"0": 1}), classes)


def test_numbers_of_imagenet_v2_are_imagenet_s_where_a_suite_has_some_of_its_classes(image_folder):
    some = ClassList("some", ("n01443537", "n01440764"), ("goldfish", "tench"))
    images = read_folder("imagenet-v2", image_folder({str(i): 1 for i in range(12)}), some)
    assert {sample.id: sample.label for sample in images.samples} == {"0/0.png": 1, "1/0.png": 0}
    assert "10 images in 10 of 12 folders in" in images.warnings[0]
    assert "of classes that 'some' does not have, and are left out" in images.warnings[0]
    with pytest.raises(InputError, match="has no folder of a class of 'some'"):
        read_folder("imagenet-v2", image_folder({"2": 1}, "others"), some)


@pytest.mark.parametrize("data", ["imagenet", "imagenet-sketch", "photos"])
def test_a_suite_of_some_wnids_takes_its_own_of_all_folders(image_folder, data):
    """A hundred of ImageNet's classes, all of its folders, by wnid or by name; 3 images each in the others."""
    imagenet = class_list("imagenet")
    some = ClassList("some", imagenet.keys[300:400][::-1], imagenet.names[300:400][::-1])
    folder = image_folder({key: 1 if key in some.keys else 3 for key in imagenet.keys})
    images = read_folder(data, folder, some)
    assert {sample.path.parent.name: sample.label for sample in images.samples} == {
        key: label for label, key in enumerate(some.keys)
    }
    assert "2700 images in 900 of 1000 folders in" in images.warnings[0]
    (folder / "n00000001").mkdir()
    with pytest.raises(InputError, match=r"n00000001 is not a class of 'some' \(1 of 1001 folders are not\)"):
        read_folder(data, folder, some)


def test_a_subset_of_the_classes_keeps_the_labels_of_the_full_list(image_folder):
    images = read_folder("imagenet", image_folder({MINI.keys[23]: 1, MINI.keys[5]: 1}), MINI)
    assert [sample.label for sample in images.samples] == [5, 23]


def test_the_drawn_sets_have_the_published_layouts():
    v2 = read_folder("imagenet-v2", mini_folder("imagenet-v2"), MINI)
    clean = read_folder("imagenet", mini_folder("imagenet"), MINI)
    assert len(v2) == len(clean) == 480
    assert {sample.id.split("/")[0] for sample in v2.samples} == {str(i) for i in range(24)}
    assert np.bincount([sample.label for sample in clean.samples]).tolist() == [20] * 24


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"m00000001": 1, "n01440764": 1}, "n01440764 is not a class of 'mini'"),
        ({"25": 1}, "is not a class of 'mini'"),
        ({"m00000001": 0}, "contains no images"),
        ({}, "there is no folder"),
    ],
)
def test_bad_folders_are_named(image_folder, counts, says):
    with pytest.raises(InputError) as error:
        read_folder("imagenet", image_folder(counts), MINI)
    assert "data set 'imagenet'" in str(error.value)
    assert says in str(error.value)


def test_a_folder_without_class_folders_is_named(tmp_path):
    with pytest.raises(InputError, match="has no class folders"):
        read_folder("imagenet", tmp_path, MINI)


def _samples(counts):
    return [Sample(f"{label}/{i}.png", Path(), label) for label, count in enumerate(counts) for i in range(count)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 60), st.integers(0, 5))
def test_a_sample_is_balanced_seeded_and_part_of_every_larger_one(counts, count, seed):
    samples = _samples(counts)
    chosen = subsample(Dataset("x", tuple(samples)), count, seed).samples
    random.Random(0).shuffle(samples)
    assert subsample(Dataset("x", tuple(samples)), count, seed).samples == tuple(
        chosen if count < len(samples) else samples
    )
    assert len(chosen) == min(count, len(samples))
    assert set(chosen) <= set(subsample(Dataset("x", tuple(samples)), count + 1, seed).samples)
    taken = np.bincount([sample.label for sample in chosen], minlength=len(counts))
    assert all(t >= min(taken.max() - 1, c) for t, c in zip(taken, counts, strict=True))


def test_a_sample_does_not_change_when_images_are_added_to_other_classes():
    before = subsample(Dataset("x", tuple(_samples([50, 50]))), 20, 0)
    after = subsample(Dataset("x", tuple(_samples([50, 80]))), 20, 0)
    assert [i for i in before.samples if i.label == 0] == [i for i in after.samples if i.label == 0]


def test_random_draws_depend_on_seed_purpose_and_image_alone():
    draws = {args: image_rng(*args).random() for args in [(0, "a", "x"), (1, "a", "x"), (0, "b", "x"), (0, "a", "y")]}
    assert len(set(draws.values())) == 4
    assert draws[0, "a", "x"] == image_rng(0, "a", "x").random()


@pytest.mark.parametrize("kind", ["truncated", "empty", "text"])
def test_unreadable_files_raise_one_kind_of_error(tmp_path, kind):
    file = tmp_path / "image.jpg"
    Image.effect_noise((200, 200), 50).save(file)
    if kind == "truncated":
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.write_text("" if kind == "empty" else "not an image")
    with pytest.raises(OSError, match="image"):
        read_image(file)


def test_scripts_that_read_items_get_the_samples():
    images = subsample(Dataset("x", tuple(_samples([2]))), 2, 0)
    assert images.items == images.samples
    assert len(images.items) == 2
