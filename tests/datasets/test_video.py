"""Video sets: which frames belong to which anchor."""

import json
import shutil

import pytest

from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import subsample
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError

MINI = class_list("mini")


@pytest.fixture
def vid(tmp_path):
    """Two videos, three anchors; the second and the third share a frame. Frame 14 shows two objects."""
    numbers = {"v/0": (10, 12, 20), "v/1": (14, 15, 16, 17)}
    for video, found in numbers.items():
        (tmp_path / "val" / video).mkdir(parents=True)
        for n in found:
            shutil.copy(
                next(mini_folder("imagenet-vid-robust").rglob("*.JPEG")), tmp_path / "val" / video / f"{n:06d}.JPEG"
            )
    sets = {
        "val/v/0/000010.JPEG": ["val/v/0/000012.JPEG", "val/v/0/000020.JPEG"],
        "val/v/1/000014.JPEG": ["val/v/1/000015.JPEG", "val/v/1/000016.JPEG"],
        "val/v/1/000017.JPEG": ["val/v/1/000016.JPEG"],
    }
    every = {f"val/{video}/{n:06d}.JPEG": [3] for video, found in numbers.items() for n in found}
    write(tmp_path, sets, every | {"val/v/1/000014.JPEG": [1, 5]})
    return tmp_path


def write(folder, sets, labels):
    (folder / "pmsets.json").write_text(json.dumps(sets))
    (folder / "labels.json").write_text(json.dumps(labels))


def metadata(folder):
    return (json.loads((folder / name).read_text()) for name in ("pmsets.json", "labels.json"))


def load(name, folder):
    return data_sets.load(name, str(folder), MINI)


def test_frames_are_read_once_and_know_their_distance(vid):
    found = load("imagenet-vid-robust", vid)
    assert len(found.samples) == len({sample.path for sample in found.samples}) == 7
    assert [a.near for a in found.anchors] == [
        (("val/v/0/000012.JPEG", 2), ("val/v/0/000020.JPEG", 10)),
        (("val/v/1/000015.JPEG", 1), ("val/v/1/000016.JPEG", 2)),
        (("val/v/1/000016.JPEG", 1),),
    ]
    (double,) = [sample for sample in found.samples if sample.also]
    assert (double.id, double.label, double.also) == ("val/v/1/000014.JPEG", 1, (5,))


def test_a_sample_of_a_video_set_is_one_of_anchors_with_their_frames(vid):
    found = subsample(load("imagenet-vid-robust", vid), 1, seed=0)
    (anchor,) = found.anchors
    assert {sample.id for sample in found.samples} == {anchor.id, *(frame for frame, _ in anchor.near)}


def test_a_pmset_that_names_a_missing_frame_costs_its_anchor_alone(vid):
    (vid / "val" / "v" / "0" / "000020.JPEG").unlink()
    found = load("imagenet-vid-robust", vid)
    assert [a.id for a in found.anchors] == ["val/v/1/000014.JPEG", "val/v/1/000017.JPEG"]
    assert "1 of 3 anchors" in found.warnings[0]
    assert "1 frames that can't be used (first: val/v/0/000020.JPEG does not exist)" in found.warnings[0]


@pytest.mark.parametrize("labels", [[], [8], [0, -1]])
def test_a_label_outside_the_classes_costs_its_anchor_alone(vid, labels):
    sets, known = metadata(vid)
    write(vid, sets, known | {"val/v/0/000012.JPEG": labels})
    found = load("imagenet-vid-robust", vid)
    assert len(found.anchors) == 2
    assert "(first: val/v/0/000012.JPEG has no label of the class space)" in found.warnings[0]


def test_metadata_that_is_missing_or_fits_nothing_is_named(vid):
    shutil.rmtree(vid / "val")
    with pytest.raises(InputError, match=r"3 of 3 anchors in .* are left out"):
        load("imagenet-vid-robust", vid)
    (vid / "pmsets.json").write_text("{")
    with pytest.raises(InputError, match=r"pmsets\.json: not a JSON file"):
        load("imagenet-vid-robust", vid)
    (vid / "pmsets.json").unlink()
    with pytest.raises(InputError, match=r"has no pmsets\.json; put the published one there"):
        load("imagenet-vid-robust", vid)


@pytest.fixture
def ytbb(tmp_path):
    """Four anchors: one with a second label, one marked bad, one whose neighbours show it to be bad."""
    source = next(mini_folder("ytbb-robust").rglob("*.jpg"))
    for folder in ("one_100", "two_200", "three_300", "four_400"):
        (tmp_path / folder).mkdir()
        for n in (20, 30, 31, 41):
            shutil.copy(source, tmp_path / folder / f"frame-{n}.jpg")
    words = ["good", "unsure", "bad", "umbrella", "plant"]
    notes = {"one_100": [0, 3], "two_200": [0], "three_300": [0, 2], "four_400": [0]}
    annotations = [{"key": f"/there/{k}/frame-30.jpg", "notes": "", "labels": v} for k, v in notes.items()]
    (tmp_path / "anchor_labels.json").write_text(json.dumps({"annotations": annotations, "labels": words}))
    rows = "one,100,0\ntwo,200,3\nthree,300,1\nfour,400,1\n"
    (tmp_path / "ytbb_robustness_test_anchors_full.csv").write_text("ytid,time_ms,label\n" + rows)
    return tmp_path


def review(folder, notes):
    words = ["similar", "occlusion-increased", "bad-anchor"]
    rows = [{"key": f"/x/{a}/frame-30.jpg,{a}/frame-{n}.jpg", "notes": "", "labels": v} for a, n, v in notes]
    (folder / "pmk_labels.json").write_text(json.dumps({"annotations": rows, "labels": words}))


def test_reviewed_anchors_and_neighbours(ytbb):
    review(ytbb, [("one_100", 31, [0]), ("one_100", 41, [0, 1]), ("two_200", 31, []), ("four_400", 31, [2])])
    found = load("ytbb-robust", ytbb)
    assert [(a.id, a.near) for a in found.anchors] == [
        ("one_100/frame-30.jpg", (("one_100/frame-31.jpg", 1),)),
        ("two_200/frame-30.jpg", ()),
    ]
    labels = {sample.id: (sample.label, sample.also) for sample in found.samples}
    umbrella, car = found.space.keys.index("umbrella"), 3
    assert labels["one_100/frame-31.jpg"] == labels["one_100/frame-30.jpg"] == (0, (umbrella,))
    assert labels["two_200/frame-30.jpg"] == (car, ())


def test_without_the_review_all_frames_within_ten_count_and_a_warning_says_so(ytbb):
    (ytbb / "one_100" / "._frame-31.jpg").touch()
    found = load("ytbb-robust", ytbb)
    assert [len(a.near) for a in found.anchors] == [2, 2, 2]  # 41 is 11 frames away
    assert "without" in found.warnings[0]
    assert "pmk_labels.json" in found.warnings[0]


def test_car_and_none_change_places_in_the_csv(ytbb):
    """A quirk of the published file: its 22 is the 23 of everything else."""
    file = ytbb / "ytbb_robustness_test_anchors_full.csv"
    file.write_text(file.read_text().replace("two,200,3", "two,200,22"))
    imagenet = class_list("imagenet")
    found = data_sets.load("ytbb-robust", str(ytbb), imagenet)
    two = next(sample for sample in found.samples if sample.id == "two_200/frame-30.jpg")
    assert found.space.keys[two.label] == "car"
