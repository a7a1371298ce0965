"""WebDataset shards and Hugging Face data sets: the same images and labels as from folders."""

import importlib
import io
import os
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from clip_robustness import suites
from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import class_list
from clip_robustness.models import InputError

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
    (tmp_path / "classnames.txt").write_text("\n".join(MINI.names[::2]))
    return tmp_path / "test"


def load(source, data="imagenet-a"):
    return data_sets.load(data, source, MINI)


def test_shards(shards):
    found = load(f"wds:{shards}/{{0..1}}.tar")
    assert {sample.id: sample.label for sample in found.samples} == {"0/s0": 0, "0/s1": 1, "1/s2": 0, "1/s3": 1}
    assert all(np.array_equal(np.asarray(sample.image()), pixels(sample.label)) for sample in found.samples)
    assert found.warnings == (
        "data set 'imagenet-a': 4 images, 240 were published",
        "data set 'imagenet-a': images of 2 of 12 classes",
    )


def test_shards_are_unpacked_once_and_anew_when_they_change(shards):
    before = load(f"wds:{shards}/0.tar").samples
    stamps = [sample.stamp for sample in before]
    assert [sample.stamp for sample in load(f"wds:{shards}/0.tar").samples] == stamps
    shard(shards / "0.tar", {"s0": {"png": png(3), "cls": b"3"}})
    (after,) = load(f"wds:{shards}/0.tar").samples
    assert after.label == 3
    assert after.stamp not in stamps


def test_class_names_decide_what_the_numbers_mean(shards):
    """Keys in another order; all classes of the models instead of the subset's; neither, of the right number or not."""
    names = shards.parent / "classnames.txt"
    names.write_text("\n".join(reversed([f"m{i:08d}" for i in range(0, 24, 2)])))
    assert [sample.label for sample in load(f"wds:{shards}/0.tar").samples] == [11, 10]
    names.write_text("\n".join(MINI.names))
    with pytest.raises(InputError, match=r"1 of 2 labels in .* are outside its 12 classes"):
        load(f"wds:{shards}/0.tar")  # number 1 is the anchor, which imagenet-a has not
    for count in (2, 12):
        names.write_text("\n".join(f"name {i}" for i in range(count)))
        with pytest.raises(InputError, match=r"2 of 2 labels in .* are outside its 12 classes .*0 called 'name 0'"):
            load(f"wds:{shards}/0.tar")


def test_class_names_that_can_not_be_trusted_are_refused(shards, tmp_path):
    names = shards.parent / "classnames.txt"
    names.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(MINI.names[::2]).encode())
    assert [sample.label for sample in load(f"wds:{shards}/0.tar").samples] == [0, 1]
    (shards / "classnames.txt").write_text("\n".join(MINI.names[::-2]))
    shard(tmp_path / "val" / "1.tar", {"s0": {"png": png(0), "cls": b"0"}})
    with pytest.raises(InputError, match=r"/classnames.txt and .*/test/classnames.txt differ"):
        load(f"wds:{shards}/0.tar::{tmp_path}/val/1.tar")
    (shards / "classnames.txt").write_text("one\n\nthree\n")
    with pytest.raises(InputError, match=r"test/classnames.txt: line 2 is empty"):
        load(f"wds:{shards}/0.tar")


def test_a_tar_that_ends_early_gives_what_comes_before_and_a_warning(shards):
    samples = {f"s{i}": {"png": png(i), "cls": str(i).encode()} for i in range(4)}
    shard(shards / "0.tar", samples)
    os.truncate(shards / "0.tar", 4 * 1024 + 700)  # within the third sample's image
    found = load(f"wds:{shards}/{{0..1}}.tar")
    assert [sample.id for sample in found.samples] == ["0/s0", "0/s1", "1/s2", "1/s3"]
    assert "0.tar can't be read to its end after 2 images" in found.warnings[0]


def test_samples_without_a_label_are_counted_and_named(shards):
    shard(
        shards / "0.tar",
        {"s0": {"png": png(0)}, "s1": {"png": png(0), "cls": b" "}, "s2": {"png": png(1), "cls": b"1"}},
    )
    found = load(f"wds:{shards}/0.tar")
    assert [sample.id for sample in found.samples] == ["0/s2"]
    assert "0.tar has 2 samples without an image or a label (first: s0)" in found.warnings[0]


@pytest.mark.parametrize(
    "members",
    [
        {"cls": b"banana"},
        {"txt": b"\xef\xbb\xbfbanana\r\n"},
        {"txt": b"m00000003"},
        {"json": b'{"label": 9, "class_name": "banana"}'},
        {"json": b'{"label": [3]}', "txt": b"a photo of an apple"},
        {"json": b'"banana"'},
        {"json": b'{"target": 3.0}'},
        {"json": b'{"width": 8, "class_id": 3}'},
        {"cls": b"3.0"},
        {"json": b'{"width": 8}', "txt": b"3"},
        {"cls": b"3", "json": b'{"label": 9}', "txt": b"a photo of an apple"},
    ],
)
def test_labels_of_a_sample_are_read_wherever_they_stand(shards, members):
    shard(shards / "0.tar", {"s0": {"png": png(0), **members}})
    (shards.parent / "classnames.txt").unlink()
    assert [sample.label for sample in load(f"wds:{shards}/0.tar", "imagenet").samples] == [MINI.names.index("banana")]


@pytest.mark.parametrize(
    "members", [{"txt": b"a photo of an apple"}, {"json": b'{"label": {"id": 3}}'}, {"json": b"{"}]
)
def test_texts_that_are_no_class_are_named(shards, members):
    shard(shards / "0.tar", {"s0": {"png": png(0), **members}})
    with pytest.raises(InputError, match=r"\(first: ('a photo of an apple' of 0/)?s0\)"):
        load(f"wds:{shards}/0.tar", "imagenet")


def test_a_sample_with_several_images_needs_a_choice(shards):
    mask = {"s0": {"jpg": png(5), "png": png(0), "cls": b"0"}, "s1": {"png": png(1), "cls": b"1"}}
    shard(shards / "0.tar", mask)
    with pytest.raises(InputError, match=r"several images in a sample \(s0: jpg, png\); .* wds:.*0\.tar\?image=jpg"):
        load(f"wds:{shards}/0.tar")
    found = load(f"wds:{shards}/0.tar?image=png").samples
    assert [np.asarray(sample.image()).max() for sample in found] == [0, 20]
    (jpg,) = load(f"wds:{shards}/0.tar?image=jpg").samples
    assert np.asarray(jpg.image()).max() == 100


@pytest.mark.parametrize("members", [{"json": b'{"class_name": "apple"}'}, {"txt": b"apple"}])
def test_names_beside_the_numbers_of_samples_must_agree(shards, members):
    banana = MINI.names.index("banana")
    samples = {"s0": {"png": png(0), "cls": str(banana).encode(), **members}}
    shard(shards / "0.tar", samples)
    (shards.parent / "classnames.txt").rename(shards / "unread.txt")
    with pytest.raises(InputError, match=rf"{banana} is called 'apple' beside it, .*write classnames\.txt beside"):
        load(f"wds:{shards}/0.tar", "imagenet")
    captions = {f"s{n}": {**samples["s0"], "json": b"{}", "txt": f"a photo {n}".encode()} for n in range(2)}
    shard(shards / "0.tar", captions)
    assert {sample.label for sample in load(f"wds:{shards}/0.tar", "imagenet").samples} == {banana}


def test_several_labels_of_a_sample_are_all_right(shards):
    members = {"s0": b'{"label": [0, 2]}', "s1": b'{"class_name": ["apple", "m00000004"]}', "s2": b"[]", "s3": b"[1]"}
    shard(shards / "0.tar", {key: {"png": png(0), "json": label} for key, label in members.items()})
    (shards.parent / "classnames.txt").unlink()
    found = load(f"wds:{shards}/0.tar", "imagenet")
    apple = MINI.names.index("apple")
    assert {s.id: s.accepted for s in found.samples} == {"0/s0": (0, 2), "0/s1": (apple, 4), "0/s3": (1,)}
    assert "1 images that have no label in" in found.warnings[0]


def test_images_of_one_name_never_share_an_id(shards, tmp_path):
    """In shards of one name, and in one shard, one after the other or apart; where a name is one alone it stays."""
    other = tmp_path / "train"
    both = {"png": png(0), "cls": b"0"}
    shard(other / "0.tar", {"s0": both})
    shard(other / "2.tar", {"s0": both})
    ids = [sample.id for sample in load(f"wds:{tmp_path}/{{test,train}}/0.tar::{tmp_path}/train/2.tar").samples]
    assert ids == ["2/s0", "test/0.tar/s0", "test/0.tar/s1", "train/0.tar/s0"]
    with tarfile.open(other / "2.tar", "w") as tar:
        for name in ("s0.png", "s0.cls", "s0.png", "s0.cls", "s1.png", "s1.cls", "s0.png", "s0.cls"):
            content = both[name.partition(".")[2]]
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    found = load(f"wds:{other}/2.tar")
    assert [sample.id for sample in found.samples] == ["2/s0", "2/s0#2", "2/s0#3", "2/s1"]
    assert "2.tar has 2 samples under names of others (first: s0)" in found.warnings[0]
    with pytest.raises(InputError, match=r"names the shard .*/2\.tar more than once"):
        load(f"wds:{other}/{{2,2}}.tar")


def test_a_label_outside_the_classes_costs_its_image_alone(shards):
    samples = {f"s{i:03d}": {"png": png(0), "cls": b"0" if i else b"12"} for i in range(150)}
    shard(shards / "0.tar", samples)
    found = load(f"wds:{shards}/0.tar")
    assert len(found) == 149
    assert "1 images with labels outside its 12 classes are left out (first: 12 of 0/s000)" in found.warnings[0]


def test_images_of_every_ending_but_no_hidden_ones(shards):
    buffer = io.BytesIO()
    Image.fromarray(pixels(1)).save(buffer, "GIF")
    samples = {"s0": {"gif": buffer.getvalue(), "cls": b"1"}, "s1": {"JFIF": png(0), "cls": b"0"}}
    hidden = {f"{place}s0": {"png": png(3), "cls": b"3"} for place in ("__MACOSX/", ".trash/", "x/.")}
    shard(shards / "0.tar", samples | hidden)
    found = load(f"wds:{shards}/0.tar")
    assert {sample.id: sample.label for sample in found.samples} == {"0/s0": 1, "0/s1": 0}
    assert not any("samples" in warning for warning in found.warnings)


def test_damaged_images_are_left_to_the_evaluator(shards):
    shard(shards / "0.tar", {"s0": {"png": png(0)[:40], "cls": b"0"}, "s1": {"png": b"", "cls": b"1"}})
    for sample in load(f"wds:{shards}/0.tar").samples:
        with pytest.raises(OSError, match="image"):
            sample.image()


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


def write_table(folder, columns, rows):
    """As `save_to_disk` does: column -> its feature, and -> its cells."""
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(columns))
    datasets.DatasetDict({"test": table}).save_to_disk(str(folder))
    return f"hf:{folder}?split=test"


@pytest.fixture
def table(tmp_path):
    """Write a table of two images, black and grey, and of columns: feature, then cells."""
    datasets = pytest.importorskip("datasets")
    kinds = {"names": datasets.ClassLabel(names=list(MINI.names)), "image": datasets.Image()}
    kinds |= {
        "coarse": datasets.ClassLabel(names=["fruit", "tool"]),
        "lists": datasets.Sequence(datasets.Value("int64")),
    }
    kinds |= {
        "texts": datasets.Sequence(datasets.Value("string")),
        "named lists": datasets.Sequence(datasets.ClassLabel(names=list(MINI.names[::-1]))),
    }
    kinds["struct"] = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    kinds |= {name: datasets.Value(name) for name in ("int64", "float64", "string", "bool", "binary")}
    cells = [{"bytes": png(i), "path": None} for i in range(2)]

    def write(**columns):
        first = {} if "image" in columns else {"image": ("image", cells)}
        every = first | {name: (kind, cells if of is None else of) for name, (kind, of) in columns.items()}
        return write_table(
            tmp_path / "columns", {n: kinds[k] for n, (k, _) in every.items()}, {n: of for n, (_, of) in every.items()}
        )

    return write


BYTES = [png(0), png(1)]
WHITE = [{"bytes": png(12), "path": None}] * 2


@pytest.mark.parametrize(
    ("columns", "options", "labels"),
    [
        ({"coarse": ("coarse", [0, 1]), "label": ("names", [3, 5])}, "", [3, 5]),
        ({"coarse": ("coarse", [0, 1]), "fine": ("names", [3, 5])}, "&label=fine", [3, 5]),
        ({"mask": ("image", WHITE), "image": ("image", None), "label": ("int64", [3, 5])}, "", [3, 5]),
        ({"mask": ("image", WHITE), "image": ("binary", BYTES), "label": ("int64", [3, 5])}, "", [3, 5]),
        ({"jpg": ("struct", None), "image": ("string", ["a", "b"]), "label": ("int64", [3, 5])}, "", [3, 5]),
        ({"image": ("image", WHITE), "x": ("binary", BYTES), "y": ("int64", [3, 5])}, "&image=x&label=y", [3, 5]),
        ({"label": ("string", ["banana ", "m00000005"])}, "", [3, 5]),
        ({"label": ("lists", [[3], [5]])}, "", [3, 5]),
        ({"label": ("float64", [3.0, 5.0])}, "", [3, 5]),
        ({"label": ("string", ["3.0", "5.0"])}, "", [3, 5]),
        ({"target": ("int64", [3, 5]), "other": ("int64", [0, 1])}, "", [3, 5]),
        ({"wnid": ("string", ["banana", "m00000005"])}, "", [3, 5]),
        ({"label": ("named lists", [[3], [5]])}, "", [20, 18]),
        ({"label": ("int64", [3, 5]), "class_name": ("string", ["banana", "m00000005"])}, "", [3, 5]),
        ({"label": ("int64", [3, 5]), "class_name": ("string", ["fruit", "tool"])}, "", [3, 5]),
    ],
)  # fmt: skip
def test_columns_of_tables(table, columns, options, labels):
    found = load(table(**columns) + options, "imagenet")
    assert [sample.label for sample in found.samples] == labels
    assert [np.asarray(sample.image()).max() for sample in found.samples] == [0, 20]


def test_several_labels_of_a_row_are_all_right(table):
    found = load(table(label=("lists", [[3, 5], [5]])), "imagenet")
    assert [sample.accepted for sample in found.samples] == [(3, 5), (5,)]
    assert "1 of 2 images have several labels, any of which counts as right" in found.warnings[0]


def test_rows_without_a_label_are_left_out_and_counted(table):
    """However many they are: that no class is right is a label, too."""
    found = load(table(label=("texts", [["banana", "m00000005"], []])), "imagenet")
    assert [sample.accepted for sample in found.samples] == [(3, 5)]
    assert "1 images that have no label in" in found.warnings[0]
    assert "are left out (first: 000001)" in found.warnings[0]


def test_images_of_one_file_never_share_an_id(table, tmp_path):
    """Parts of a split, and another column of it, lie in the file that the whole split lies in."""
    columns = table(image=("image", None), mask=("image", WHITE), label=("int64", [3, 5]))
    seen = [(i.path, i.id) for o in ("", "&image=mask") for i in load(columns + o, "imagenet").samples]
    source = write_parquet(tmp_path / "parquet")
    seen += [
        (sample.path, sample.id)
        for split in ("test", "test[:50%]", "test[2:]", "test[:2]+test[2:]")
        for sample in load(source.replace("=test", f"={split}")).samples
    ]
    assert len(set(seen)) == len(seen) == 16
    assert seen[0][1] == "000000"


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        ({"coarse": ("coarse", [0, 1]), "fine": ("names", [3, 5])}, "",
         r"several label columns, coarse, fine; choose one: \?label=coarse"),
        ({"image": ("int64", [3, 5]), "a": ("image", WHITE), "img": ("binary", BYTES), "label": ("int64", [3, 5])}, "",
         r"several image columns, a, img; choose one: \?image=a"),
        ({"label": ("int64", [3, 5])}, "&image=label", "the column 'label' holds no images"),
        ({"label": ("int64", [3, 5])}, "&label=lable", "has no column 'lable'; did you mean 'label'"),
        ({"y": ("int64", [3, 5])}, "", r"has the columns image, y; .*name them: \?image=...&label=..."),
        ({"label": ("int64", [3, 5]), "text": ("string", ["apple", "pear"])}, "", r"choose that column: \?label=text"),
        ({"label": ("lists", [[0, 1, 0], [1, 0, 0]])}, "", r"the list of 000000 has repeated values, \[0, 1, 0\]"),
        ({"label": ("lists", [[*range(24)], [3]])}, "", r"the list of 000000 has all classes, \[0, 1, 2"),
        ({"label": ("lists", [[0, 30], [5]])}, "", r"1 of 2 labels .* \(first: 30 of 000000\)"),
        ({"label": ("lists", [[], []])}, "", "has no image of the 24 classes"),
        ({"label": ("bool", [True, False])}, "", "the column 'label' has True in row 0; numbers of classes, or texts"),
        ({"label": ("float64", [0.5, 1.0])}, "", "the column 'label' has 0.5 in row 0"),
        ({"label": ("int64", [3, 5]), "class_name": ("string", ["apple", "pear"])}, "",
         "numbers without names, and 3 is called 'apple' beside it, which is another class"),
        ({"label": ("lists", [[3], [5]]), "class_name": ("texts", [["apple"], ["pear"]])}, "", "3 is called 'apple'"),
        ({"label": ("int64", [3, None])}, "", r"1 of 2 labels .* \(first: no label of 000001\)"),
        ({"label": ("float64", [3, float("nan")])}, "", r"1 of 2 labels .* \(first: no label of 000001\)"),
        ({"label": ("int64", [-1, -1])}, "", r"2 of 2 labels .* \(first: -1 of 000000\)"),
        ({"label": ("string", ["banana", " "])}, "", r"1 of 2 labels .* \(first: no label of 000001\)"),
        ({"label": ("string", ["banana", "wolf"])}, "", r"1 of 2 labels .* \(first: 'wolf' of 000001\)"),
        ({"image": ("image", []), "label": ("int64", [])}, "", "it has no rows"),
    ],
)  # fmt: skip
def test_columns_that_are_no_images_and_labels_are_named(table, columns, options, says):
    with pytest.raises(InputError, match=says):
        load(table(**columns) + options, "imagenet")


def write_arrow(folder):
    datasets = pytest.importorskip("datasets")
    write_parquet(folder)
    datasets.load_dataset(str(folder), split="test").save_to_disk(folder / "arrow")
    return f"hf:{folder}/arrow"


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_local_tables(tmp_path, write):
    found = load(write(tmp_path / "table"))
    assert [(sample.id, sample.label) for sample in found.samples] == [
        ("000000", 0),
        ("000001", 1),
        ("000002", 2),
        ("000003", 1),
    ]
    assert all(np.array_equal(np.asarray(sample.image()), pixels(sample.label)) for sample in found.samples)
    assert all(sample.stamp for sample in found.samples)


def test_tables_that_do_not_fit_are_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    source = write_parquet(tmp_path / "table")
    with pytest.raises(InputError, match="option 'spilt' is unknown; did you mean 'split'"):
        load(source.replace("split", "spilt"))
    with pytest.raises(InputError, match=r"it has the splits test; choose one: \?split=test"):
        load(
            write_table(tmp_path / "other", {"n": datasets.Value("int64")}, {"n": [0]}).replace("=test", "=validation")
        )
    with pytest.raises(InputError, match="can't be loaded"):
        load(source.replace("=test", "=train"))
    with pytest.raises(InputError, match="can't be loaded"):
        load(f"hf:{tmp_path}/nowhere")
    source = write_parquet(tmp_path / "unlabelled", ["image"])
    with pytest.raises(InputError, match="has the columns image; an image column and a column of labels"):
        load(source)


def test_a_file_of_a_table_is_named_by_its_folder(tmp_path):
    pytest.importorskip("datasets")
    write_parquet(tmp_path / "parquet")
    (file,) = (tmp_path / "parquet").rglob("*.parquet")
    with pytest.raises(InputError, match=r"it is a file; name the folder that holds it, hf:/.*/data"):
        load(f"hf:{file}?split=test")


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
