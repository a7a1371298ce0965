"""ImageNet's validation images as they are unpacked, without class folders: the labels of each kind of table."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from clip_robustness import suites
from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import subsample
from clip_robustness.models import InputError

IMAGENET = class_list("imagenet")
NAMES = [f"ILSVRC2012_val_{n:08d}" for n in range(1, 5)]
LABELS = [65, 970, 230, 0]
"""Of ImageNet's first four validation images but one, among the sorted wnids."""
WNIDS = [IMAGENET.keys[label] for label in LABELS]
DEVKIT = [490, 361, 171, 449]
"""The devkit's own numbers of these classes."""


@pytest.fixture
def val(tmp_path):
    (tmp_path / "val").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(tmp_path / "val" / f"{name}.JPEG")
    return tmp_path / "val"


def load(val, table, classes=IMAGENET):
    return data_sets.load("imagenet", f"flat:{val}?labels={table}", classes)


def lines(*columns, between=" ", head=""):
    return head + "\n".join(between.join(map(str, row)) for row in zip(*columns, strict=True)) + "\n"


FILES = [f"{name}.JPEG" for name in NAMES]
TABLES = {
    "LOC_val_solution.csv": lines(
        reversed(NAMES),
        [f"{wnid} 111 108 428 366 {wnid} 1 2 3 4 " for wnid in reversed(WNIDS)],
        between=",",
        head="\ufeffImageId,PredictionString\r\n",
    ),
    "spaces.txt": lines(FILES, WNIDS),
    "tabs.tsv": lines(FILES, WNIDS, between="\t"),
    "folders.txt": lines([f"val/{file}" for file in FILES], WNIDS),
    "head.csv": lines(WNIDS, FILES, range(4), between=",", head="wnid,filename,number\n"),
    "quoted.csv": lines([f'"{f}"' for f in FILES], [*WNIDS[:3], '"tench, Tinca tinca"'], between=","),
    "column.txt": lines(WNIDS),
    "val.txt": lines(FILES, LABELS),
    "numbers.txt": lines(LABELS),
    "list.json": json.dumps(LABELS),
    "files.json": json.dumps(dict(zip(FILES, WNIDS, strict=True))),
    "bars.csv": lines(FILES, WNIDS, between="|"),
    "any header.csv": lines(FILES, [4, 4, 4, 4], WNIDS, between=",", head="img,fold,label\n"),
    "class id.csv": lines([f"val/{f}" for f in FILES], [4] * 4, WNIDS, between=",", head="shown,fold,class_id\n"),
    "class first.csv": lines(WNIDS, FILES, between=","),
    "named.csv": lines(NAMES, WNIDS, between=",", head="id,name\n"),
    "comments.csv": lines(FILES, WNIDS, between=",", head="# mine\nfile,label\n"),
    "metadata.jsonl": lines([json.dumps({"file_name": f, "label": w}) for f, w in zip(FILES, WNIDS, strict=True)]),
    "records.json": "\ufeff" + json.dumps([{"file": f, "label": w} for f, w in zip(FILES, WNIDS, strict=True)]),
    "floats.json": json.dumps(dict(zip(FILES, map(float, LABELS), strict=True))),
    "pandas.csv": lines(range(4), FILES, map(float, LABELS), between=",", head=",file,target\n"),
    "names.csv": lines(FILES, [3, 2, 1, 0], WNIDS, between=",", head="file,label,class_name\n"),
}  # fmt: skip
NUMBERED = ("val.txt", "numbers.txt", "list.json", "floats.json", "pandas.csv")


@pytest.mark.parametrize("name", TABLES)
def test_tables(val, name):
    (val.parent / name).write_text(TABLES[name])
    found = load(val, val.parent / name)
    wanted = sorted((f"{wnid}/{file}", label) for wnid, file, label in zip(WNIDS, FILES, LABELS, strict=True))
    assert [(sample.id, sample.label) for sample in found.samples] == wanted
    assert all(sample.image().size == (8, 8) for sample in found.samples)
    numbered = "numbers, which are taken for places in the list of classes from 0, in ImageNet's of its sorted wnids"
    assert (numbered in found.warnings[0]) == (name in NUMBERED)


def test_names_of_files_with_spaces(val):
    for n, name in enumerate(FILES):
        (val / name).rename(val / f"my photo {n}.JPEG")
    (val.parent / "labels.txt").write_text(lines([f"my photo {n}.JPEG" for n in range(4)], WNIDS))
    assert [sample.label for sample in load(val, "labels.txt").samples] == sorted(LABELS)


def test_what_has_a_sign_is_no_class(val):
    """-1, of images without a label, is not the class whose key is 1."""
    for n in range(100):
        Image.new("RGB", (8, 8)).save(val / f"{n}.png")
    (val.parent / "labels.csv").write_text(lines([f"{n}.png" for n in range(100)], [-1, *[3] * 99], between=","))
    found = load(val, "labels.csv", ClassList("digits", tuple("0123"), tuple("abcd")))
    assert {sample.label for sample in found.samples} == {3}
    assert "1 images with labels outside its 4 classes are left out (first: '-1' of 0.png)" in "\n".join(found.warnings)


REAL = {
    "real.json": json.dumps([[65], [970, 795], [], [0, 1, 2]]),
    "files.json": json.dumps(dict(zip(FILES, [[65], [970, 795], [], [0, 1, 2]], strict=True))),
    "cells.csv": lines(NAMES, ["[65]", "[970, 795]", "[]", "[0, 1, 2]"], between="\t"),
    "keys.txt": lines(FILES, [repr([IMAGENET.keys[i] for i in some]) for some in ([65], [970, 795], [], [0, 1, 2])]),
}


def test_a_table_beside_class_folders_gives_labels_and_leaves_ids(val):
    """So that subsets, groups and clusters still know the images."""
    ids = [f"{wnid}/{file}" for wnid, file in zip(WNIDS, FILES, strict=True)]
    for id, file in zip(ids, FILES, strict=True):
        (val / id).parent.mkdir()
        (val / file).rename(val / id)
    (val.parent / "real.json").write_text(REAL["real.json"])
    found = {sample.id: sample.accepted for sample in load(val, "real.json").samples}
    assert found == {ids[0]: (65,), ids[1]: (970, 795), ids[3]: (0, 1, 2)}


@pytest.mark.parametrize("name", REAL)
def test_several_labels_are_all_right(val, name):
    """As in ReaL: of the second image two, of the third none, which is left out."""
    (val.parent / name).write_text(REAL[name])
    found = load(val, val.parent / name)
    labels = {sample.path.stem: sample.accepted for sample in found.samples}
    assert labels == {NAMES[0]: (65,), NAMES[1]: (970, 795), NAMES[3]: (0, 1, 2)}
    said = "\n".join(found.warnings)
    assert f"1 images that have no label in {val.parent / name} are left out (first: {FILES[2]})" in said
    assert "2 of 3 images have several labels, any of which counts as right" in said
    assert "images of 6 of 1000 classes" in said


def test_several_wnids_of_an_image_are_all_right(val):
    """Kaggle's boxes; a suite that has one of the two classes takes the image by that."""
    (val.parent / "boxes.csv").write_text(
        lines(NAMES, [f"{w} 1 2 3 4 {w} 1 2 3 4 {WNIDS[0]} 1 2 3 4" for w in WNIDS], between=",")
    )
    assert {s.accepted for s in load(val, "boxes.csv").samples} == {(65,), (970, 65), (230, 65), (0, 65)}
    some = ClassList("some", (WNIDS[1], WNIDS[0]), ("alp", "sea snake"))
    with pytest.raises(InputError, match=r"the list of .*2\.JPEG has all classes, .*each once, not a number for each"):
        load(val, "boxes.csv", some)
    more = ClassList("more", (WNIDS[3], WNIDS[1]), ("tench", "alp"))
    found = load(val, "boxes.csv", more)
    assert {s.accepted for s in found.samples} == {(0,), (1,)}
    assert "2 images of classes that 'more' does not have are left out" in "\n".join(found.warnings)


def test_a_row_is_for_one_file(val):
    """A mask beside its image has no label; without the ending either could be meant."""
    for name in NAMES:
        Image.new("L", (8, 8)).save(val / f"{name}.png")
    (val.parent / "labels.txt").write_text(lines(FILES, WNIDS))
    found = load(val, "labels.txt")
    assert {sample.path.suffix for sample in found.samples} == {".JPEG"}
    assert "4 images are not in" in found.warnings[0]
    (val.parent / "labels.txt").write_text(lines(NAMES, WNIDS))
    with pytest.raises(InputError, match=r"'ILSVRC2012_val_00000001' could be .*1\.JPEG or .*1\.png; write the path"):
        load(val, "labels.txt")


def test_a_name_in_two_folders_needs_its_folder(val):
    for place, name in zip("xy", FILES, strict=False):
        (val / place).mkdir()
        (val / name).rename(val / place / "1.jpg")
    (val.parent / "labels.txt").write_text(lines(["x/1.JPEG", "y/1.JPEG"], WNIDS[:2]))
    found = load(val, "labels.txt")
    assert {sample.path.parent.name: sample.label for sample in found.samples} == {"x": LABELS[0], "y": LABELS[1]}
    (val.parent / "labels.txt").write_text(lines(["1.JPEG"], WNIDS[:1]))
    with pytest.raises(InputError, match=r"'1\.JPEG' could be x/1\.jpg or y/1\.jpg; write the path into the table"):
        load(val, "labels.txt")


def devkit(folder, name):
    """Its list of classes, with inner nodes of the hierarchy above them, as they are published."""
    inner = ("n00001740", "entity", 1676)
    if name == "map_clsloc.txt":
        (folder / name).write_text(lines(WNIDS, DEVKIT, ["a"] * 4))
        return
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    rows = [(number, wnid, "words") for number, wnid in zip(DEVKIT, WNIDS, strict=True)] + [inner[::-1][:1] + inner[:2]]
    savemat(folder / name, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)})


@pytest.mark.parametrize("synsets", ["meta.mat", "map_clsloc.txt"])
def test_the_devkit_counts_in_an_order_of_its_own(val, synsets):
    (val.parent / "devkit").mkdir()
    truth = val.parent / "devkit" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text(lines(DEVKIT))
    with pytest.raises(InputError, match=r"truth\.txt: its numbers are those of ImageNet's devkit.*put meta\.mat or"):
        load(val, truth)
    devkit(truth.parent, synsets)
    assert {sample.path.name: sample.label for sample in load(val, truth).samples} == dict(
        zip(FILES, LABELS, strict=True)
    )
    truth.write_text(lines([1, *DEVKIT[1:]]))
    with pytest.raises(InputError, match=r"truth\.txt: 1 is no class"):
        load(val, truth)


def test_images_and_ids_are_those_of_class_folders(val, tmp_path):
    (tmp_path / "labels.txt").write_text(TABLES["spaces.txt"])
    for wnid, file in zip(WNIDS, FILES, strict=True):
        (tmp_path / "folders" / wnid).mkdir(parents=True)
        (tmp_path / "folders" / wnid / file).write_bytes((val / file).read_bytes())
    flat, folders = load(val, tmp_path / "labels.txt"), data_sets.load("imagenet", str(tmp_path / "folders"), IMAGENET)
    assert [(sample.id, sample.label) for sample in flat.samples] == [
        (sample.id, sample.label) for sample in folders.samples
    ]
    assert [sample.id for sample in subsample(flat, 2, 0).samples] == [
        sample.id for sample in subsample(folders, 2, 0).samples
    ]


def test_images_that_the_table_does_not_name_are_counted(val):
    (val / "labels.csv").write_text(lines(FILES[:3], WNIDS[:3], between=","))
    (val / "x.heic").touch()
    found = load(val, "labels.csv")
    assert len(found) == 3
    assert f"1 images are not in {val / 'labels.csv'} and are left out (first: {FILES[3]})" in found.warnings[0]
    assert "1 file is not read (.heic 1)" in found.warnings[1]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (lines(FILES, [1, 1000, 3, 4]), "may be the devkit's or places counted from 1; take a table of wnids"),
        (lines(NAMES, [1, 2, 3, 4]), "it numbers the images and has no classes; take LOC_val_solution.csv"),
        (lines(["a", "b"], WNIDS[:2]), "names none of its 4 images (first: ILSVRC2012_val_00000001.JPEG)"),
        (lines([FILES[0]] * 2, WNIDS[:2]), "ILSVRC2012_val_00000001.JPEG has two classes"),
        (lines(FILES, ["n00000000"] * 4), "4 of 4 labels in"),
        (
            lines(NAMES, "0011", WNIDS, between=",", head="file,label,class\n"),
            "columns class and label have other classes",
        ),
        (lines(FILES, ["[1, 0, 0]"] * 4), "has repeated values, [1, 0, 0]; the classes that are right are expected"),
        (lines(FILES, ["[1, 2000]"] * 4), "4 of 4 labels in"),
        (lines(FILES, "0123", "4567", between=","), "its first line must name its 3 columns, as file,label,..."),
        (
            lines(FILES, "0123", "4567", between=",", head="img,fold,y\n"),
            "of the columns img, fold, y none is called wnid",
        ),
        ("ImageId,a,b\nx,y,z\n", "of the columns ImageId, a, b none is called wnid"),
        (f"{FILES[0]} {WNIDS[0]}\n{FILES[1]}\n", "a file and its class are expected in each line, not"),
        ("\n", "the table is empty"),
    ],
)
def test_what_is_no_table_is_named(val, table, says):
    (val.parent / "labels.txt").write_text(table)
    with pytest.raises(InputError) as error:
        load(val, "labels.txt")
    assert says in str(error.value)
    assert "data set 'imagenet'" in str(error.value)


def test_a_column_of_classes_is_for_numbered_files(val):
    (val / FILES[0]).rename(val / "dog.JPEG")
    (val.parent / "labels.txt").write_text(lines(WNIDS))
    with pytest.raises(InputError, match=r"is for files called ILSVRC2012_val_00000001, not dog\.JPEG"):
        load(val, "labels.txt")


def test_without_a_table_the_error_says_what_to_write(val):
    with pytest.raises(InputError, match=r"write flat:/.*/val\?labels=LOC_val_solution\.csv"):
        data_sets.load("imagenet", f"flat:{val}", IMAGENET)
    with pytest.raises(
        InputError, match=r"has no class folders; .* imagenet = \"flat:/.*/val\?labels=LOC_val_solution\.csv"
    ):
        data_sets.load("imagenet", str(val), IMAGENET)
    with pytest.raises(InputError, match=r"nowhere\.csv: not a text file that can be read"):
        load(val, "nowhere.csv")
    (val.parent / "wide.txt").write_text(TABLES["spaces.txt"], encoding="utf-16")
    with pytest.raises(InputError, match=r"wide\.txt: not a text file that can be read"):
        load(val, "wide.txt")


@pytest.mark.parametrize("place", [".", "val", "data"])
def test_a_table_is_beside_the_suite_or_the_images(toml, tmp_path, val, place):
    (tmp_path / "data").mkdir()
    val.rename(tmp_path / "data" / "val")
    table = tmp_path / {".": ".", "val": "data/val", "data": "data"}[place] / "labels.txt"
    table.write_text(TABLES["spaces.txt"])
    text = 'candidate = ["mini:clip"]\n[data]\nimagenet = "flat:data/val?labels=labels.txt"\n[conditions]\n'
    source = suites.load(toml(text)).source("imagenet")
    assert len(data_sets.load("imagenet", source, IMAGENET)) == 4


def test_sets_with_layouts_of_their_own_are_not_flat(val):
    with pytest.raises(InputError, match="is read from a folder in its published layout"):
        data_sets.load("imagenet-c", f"flat:{val}", IMAGENET, "fog/1")
