"""Which images belong together: what data sets know of themselves, and what their users say."""

import shutil

import pytest
from PIL import Image

from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError
from clip_robustness.mini.data import mini_folder
from clip_robustness.suites import load as suite_of
from tests.datasets.test_sources import png
from tests.datasets.test_video import review, vid, ytbb  # noqa: F401

MINI = class_list("mini")


def clusters(name, source, rule=""):
    found = data_sets.load(name, str(source), MINI, clusters=rule)
    return {sample.id: sample.clusters for sample in found.samples}


@pytest.fixture
def night(tmp_path):
    for name in ("v1_a", "v1_b", "v20_a"):
        (tmp_path / "night" / MINI.keys[0]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "night" / MINI.keys[0] / f"{name}.png")
    return tmp_path / "night"


def test_frames_belong_to_their_video(vid):  # noqa: F811
    found = clusters("imagenet-vid-robust", vid)
    assert {id: cluster for id, cluster in found.items() if id.endswith(("10.JPEG", "14.JPEG", "17.JPEG"))} == {
        "val/v/0/000010.JPEG": ("val/v/0",),
        "val/v/1/000014.JPEG": ("val/v/1",),
        "val/v/1/000017.JPEG": ("val/v/1",),
    }


def test_anchors_of_one_youtube_video_belong_together(ytbb):  # noqa: F811
    review(ytbb, [])
    (ytbb / "one_100").rename(ytbb / "a_b_100")
    for file in ("anchor_labels.json", "ytbb_robustness_test_anchors_full.csv"):
        text = (ytbb / file).read_text()
        (ytbb / file).write_text(text.replace("one_100", "a_b_100").replace("one,100", "a_b,100"))
    found = {id: cluster for id, (cluster,) in clusters("ytbb-robust", ytbb).items()}
    assert found == {"a_b_100/frame-30.jpg": "a_b", "two_200/frame-30.jpg": "two", "four_400/frame-30.jpg": "four"}


def test_cue_conflicts_belong_together_by_shape_and_by_texture(tmp_path):
    file = next(mini_folder("cue-conflict").rglob("*.png"))
    shape, texture = file.stem.split("-")
    (tmp_path / file.parent.name).mkdir()
    other = texture[:-1] + "17"
    for name in (texture, other):
        shutil.copy(file, tmp_path / file.parent.name / f"{shape}-{name}.png")
    folder = file.parent.name
    assert clusters("cue-conflict", tmp_path) == {
        f"{folder}/{shape}-{texture}.png": (shape, texture),
        f"{folder}/{shape}-{other}.png": (shape, other),
    }


def test_a_pattern_and_a_file_say_what_belongs_together(night, tmp_path):
    by_pattern = clusters("night", night, "regex:(v[0-9]+)_")
    assert list(by_pattern.values()) == [("v1",), ("v1",), ("v20",)]
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"{id}\t{cluster}\n" for id, (cluster,) in by_pattern.items()) + "another.png\tv3\n")
    assert clusters("night", night, f"file:{table}") == by_pattern


def test_an_image_of_which_a_rule_says_nothing_is_named(night, tmp_path):
    with pytest.raises(InputError, match=r"'night': regex:\(v1\)_ .* nothing of 1 of 3 images \(first: .*v20_a\.png\)"):
        clusters("night", night, "regex:(v1)_")
    (tmp_path / "some.tsv").write_text(f"{MINI.keys[0]}/v1_a.png\tone\n")
    with pytest.raises(InputError, match=r"some\.tsv .* nothing of 2 of 3 images \(first: .*v1_b\.png\)"):
        clusters("night", night, f"file:{tmp_path}/some.tsv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a.png one\n", "line 1: an id, a tab and a cluster are expected, not 'a.png one'"),
        ("a.png\tone\na.png\ttwo\n", "a.png is in two clusters, 'one' and 'two'"),
        (None, "can't be read"),
    ],
)
def test_a_file_that_is_no_table_of_clusters_is_named(night, tmp_path, content, said):
    if content:
        (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(InputError, match=said):
        clusters("night", night, f"file:{tmp_path}/t.tsv")


def test_a_column_of_a_table_says_what_belongs_together(night, tmp_path):
    key, scenes = MINI.keys[0], {"v1_a": 7, "v1_b": 8, "v20_a": 7}
    lines = [f"{key}/{name}.png,{key},{scene}\n" for name, scene in scenes.items()]
    (tmp_path / "t.csv").write_text("".join(["file,label,scene\n", *lines]))
    flat = f"flat:{night}?labels={tmp_path}/t.csv"
    assert list(clusters("night", flat, "column:scene").values()) == [("7",), ("8",), ("7",)]
    with pytest.raises(InputError, match=r"no column 'scenes', as \[clusters\] names it; .*scene"):
        clusters("night", flat, "column:scenes")
    with pytest.raises(InputError, match=r"column:scene under .* is for tables"):
        clusters("night", night, "column:scene")


def test_a_column_of_a_hugging_face_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(MINI.names))}
    features = datasets.Features(features | {"video": datasets.Value("string")})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(3)], "label": [0, 1, 2], "video": ["x", "y", "x"]}
    datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(str(tmp_path))
    assert list(clusters("night", f"hf:{tmp_path}", "column:video").values()) == [("x",), ("y",), ("x",)]
    with pytest.raises(InputError, match="no column 'clip'"):
        clusters("night", f"hf:{tmp_path}", "column:clip")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("regex:v[0-9]+_", "needs a group"),
        ("regex:(v", "is no regular expression"),
        ("video", "is none of regex:PATTERN, file:TABLE and column:NAME"),
        ("regexp:(v)", "is none of"),
    ],
)
def test_a_rule_that_says_nothing_is_an_error_of_the_suite(tmp_path, rule, said):
    suite = tmp_path / "s.toml"
    suite.write_text(f"[data]\nnight = 'x'\n[clusters]\nnight = '{rule}'\n[conditions]\nnatural = ['night']\n")
    with pytest.raises(InputError, match=f"clusters of 'night'.*{said}"):
        suite_of(str(suite))


def test_clusters_of_no_data_set_are_an_error_and_files_are_relative_to_the_suite(tmp_path):
    suite = tmp_path / "s.toml"
    text = "[data]\nnight = 'x'\n[clusters]\n{} = 'file:c.tsv'\n[conditions]\nnatural = ['night']\n"
    suite.write_text(text.format("nigth"))
    with pytest.raises(InputError, match=r"no such data set under \[data\]; .*night"):
        suite_of(str(suite))
    suite.write_text(text.format("night"))
    assert suite_of(str(suite)).clusters("night") == f"file:{tmp_path}/c.tsv"
    assert suite_of(str(suite)).clusters("imagenet") == ""
