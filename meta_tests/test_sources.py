"""WebDataset shards and Hugging Face data sets: the same images and labels as from folders."""

import importlib
import io
import os
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

import suites
from models import InputError
from models.classes import class_list
from shifts import data_sets

MINI = class_list("mini")
A = ("m00000000", "m00000002", "m00000004")
"""Classes 0, 1 and 2 of the drawn imagenet-a."""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))


def pixels(label):
    return np.full((8, 8, 3), 20 * label, np.uint8)


def png(label):
    buffer = io.BytesIO()
    Image.fromarray(pixels(label)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(file, samples):
    """A tar of samples: extension -> content."""
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for key, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    pytest.importorskip("webdataset")
    for n in range(2):
        samples = {f"s{2 * n + i}": {"png": png(i), "cls": str(i).encode()} for i in range(2)}
        shard(tmp_path / "test" / f"{n}.tar", samples)
    (tmp_path / "classnames.txt").write_text("\n".join(f"name {i}" for i in range(12)))
    return tmp_path / "test"


def load(source, data="imagenet-a"):
    return data_sets.load(data, source, MINI)


def test_shards(shards):
    found = load(f"wds:{shards}/{{0..1}}.tar")
    assert {item.id: item.label for item in found.items} == {"0/s0": 0, "0/s1": 1, "1/s2": 0, "1/s3": 1}
    assert all(np.array_equal(np.asarray(item.image()), pixels(item.label)) for item in found.items)
    assert found.warnings == (
        "data set 'imagenet-a': 4 images, 240 were published",
        "data set 'imagenet-a': images of 2 of 12 classes",
    )


def test_shards_are_unpacked_once_and_anew_when_they_change(shards):
    before = load(f"wds:{shards}/0.tar").items
    stamps = [item.stamp for item in before]
    assert [item.stamp for item in load(f"wds:{shards}/0.tar").items] == stamps
    shard(shards / "0.tar", {"s0": {"png": png(3), "cls": b"3"}})
    (after,) = load(f"wds:{shards}/0.tar").items
    assert after.label == 3
    assert after.stamp not in stamps


def test_class_names_decide_what_the_numbers_mean(shards):
    """Keys in another order; all classes of the models instead of the subset's; neither."""
    names = shards.parent / "classnames.txt"
    names.write_text("\n".join(reversed([f"m{i:08d}" for i in range(0, 24, 2)])))
    assert [item.label for item in load(f"wds:{shards}/0.tar").items] == [11, 10]
    names.write_text("\n".join(MINI.names))
    with pytest.raises(InputError, match=r"1 of 2 labels in .* are outside its 12 classes"):
        load(f"wds:{shards}/0.tar")  # number 1 is the anchor, which imagenet-a has not
    names.write_text("a\nb\n")
    with pytest.raises(InputError, match="names 2 classes where 12 are expected"):
        load(f"wds:{shards}/0.tar")


def test_a_tar_that_ends_early_gives_what_comes_before_and_a_warning(shards):
    samples = {f"s{i}": {"png": png(i), "cls": str(i).encode()} for i in range(4)}
    shard(shards / "0.tar", samples)
    os.truncate(shards / "0.tar", 4 * 1024 + 700)  # within the third sample's image
    found = load(f"wds:{shards}/{{0..1}}.tar")
    assert [item.id for item in found.items] == ["0/s0", "0/s1", "1/s2", "1/s3"]
    assert "0.tar can't be read to its end after 2 images" in found.warnings[0]


def test_samples_without_a_label_are_counted_and_named(shards):
    shard(
        shards / "0.tar",
        {"s0": {"png": png(0)}, "s1": {"png": png(0), "cls": b"one"}, "s2": {"png": png(1), "cls": b"1"}},
    )
    found = load(f"wds:{shards}/0.tar")
    assert [item.id for item in found.items] == ["0/s2"]
    assert "0.tar has 2 samples without an image or a .cls number (first: s0)" in found.warnings[0]


def test_a_label_outside_the_classes_costs_its_image_alone(shards):
    samples = {f"s{i:03d}": {"png": png(0), "cls": b"0" if i else b"12"} for i in range(150)}
    shard(shards / "0.tar", samples)
    found = load(f"wds:{shards}/0.tar")
    assert len(found) == 149
    assert "1 images with labels outside its 12 classes are left out (first: 12 of 0/s000)" in found.warnings[0]


def test_damaged_images_are_left_to_the_evaluator(shards):
    shard(shards / "0.tar", {"s0": {"png": png(0)[:40], "cls": b"0"}, "s1": {"png": b"", "cls": b"1"}})
    for item in load(f"wds:{shards}/0.tar").items:
        with pytest.raises(OSError, match="image"):
            item.image()


def test_missing_and_empty_shards_are_named(shards):
    with pytest.raises(InputError, match=r"there is no shard .*2\.tar \(1 of 3 are missing\)"):
        load(f"wds:{shards}/{{0..2}}.tar")
    shard(shards / "0.tar", {})
    with pytest.raises(InputError, match=r"holds no image with a \.cls file"):
        load(f"wds:{shards}/0.tar")


def write_parquet(folder, columns=("image", "label")):
    """A table as on the hub: encoded images, and class numbers with the names in the schema."""
    datasets, parquet = pytest.importorskip("datasets"), pytest.importorskip("pyarrow.parquet")
    every = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(A))}
    schema = datasets.Features({name: every[name] for name in columns}).arrow_schema
    rows = [{"image": {"bytes": png(i), "path": f"{i}.png"}, "label": i} for i in (0, 1, 2, 1)]
    (folder / "data").mkdir(parents=True)
    table = importlib.import_module("pyarrow").Table.from_pylist(rows, schema=schema)
    parquet.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
    return f"hf:{folder}?split=test"


def write_arrow(folder):
    datasets = pytest.importorskip("datasets")
    write_parquet(folder)
    datasets.load_dataset(str(folder), split="test").save_to_disk(folder / "arrow")
    return f"hf:{folder}/arrow"


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_local_tables(tmp_path, monkeypatch, write):
    subset = data_sets.class_space("imagenet-a", MINI, {key: [key] for key in A})
    monkeypatch.setattr(data_sets, "class_space", lambda *_: subset)
    found = load(write(tmp_path / "table"))
    assert [(item.id, item.label) for item in found.items] == [
        ("000000", 0),
        ("000001", 1),
        ("000002", 2),
        ("000003", 1),
    ]
    assert all(np.array_equal(np.asarray(item.image()), pixels(item.label)) for item in found.items)
    assert all(item.stamp for item in found.items)


def test_tables_that_do_not_fit_are_named(tmp_path):
    source = write_parquet(tmp_path / "table")
    with pytest.raises(InputError, match="names 3 classes where 12 are expected"):
        load(source)
    with pytest.raises(InputError, match="option 'spilt' is unknown; did you mean 'split'"):
        load(source.replace("split", "spilt"))
    with pytest.raises(InputError, match="can't be loaded"):
        load(source.replace("=test", "=train"))
    with pytest.raises(InputError, match="can't be loaded"):
        load(f"hf:{tmp_path}/nowhere")
    source = write_parquet(tmp_path / "unlabelled", ["image"])
    with pytest.raises(InputError, match="has the columns image; an image column and a column of class numbers"):
        load(source)


@pytest.mark.parametrize(("source", "library"), [("wds:/0.tar", "webdataset"), ("hf:org/name", "datasets")])
def test_a_missing_library_is_named_with_its_command(monkeypatch, source, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"'{source}' needs the library {library}; pip install {library}"):
        load(source)


@pytest.mark.parametrize("source", ["wds:/x/0.tar", "hf:org/name?split=test"])
def test_video_sets_are_read_from_folders(source):
    with pytest.raises(InputError, match="'ytbb-robust' is read from a folder in its published layout"):
        load(source, "ytbb-robust")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("photos", "{}/photos"),
        ("wds:shards/{{0..9}}.tar", "wds:{}/shards/{{0..9}}.tar"),
        ("wds:https://host/0.tar", "wds:https://host/0.tar"),
        ("hf:org/name?split=test", "hf:org/name?split=test"),
        ("hf:./table?split=test", "hf:{}/table?split=test"),
    ],
)
def test_relative_places_are_relative_to_the_suite(toml, tmp_path, written, read):
    text = 'candidate = ["mini:clip"]\n[data]\nimagenet = "SOURCE"\n[conditions]\n'
    suite = suites.load(toml(text.replace("SOURCE", written.format())))
    assert suite.source("imagenet") == read.format(tmp_path)
