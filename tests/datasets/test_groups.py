"""Which images are told apart: what a line under [groups] may say."""

import json
from pathlib import Path

import pytest

from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.groups import fault_of, grouped
from clip_robustness.errors import InputError

IMAGES = Dataset("d", tuple(Sample(f"n1/{name}.jpg", Path(), 0) for name in "abc"))


def groups(rule):
    return [sample.groups for sample in grouped(IMAGES, rule).samples]


def test_a_pattern_names_the_group():
    assert groups("regex:/([ab])") == [("a",), ("b",), ()]


def test_a_table_of_ids_or_file_names(tmp_path):
    (tmp_path / "t.tsv").write_text("n1/a.jpg\tdark\na.jpg\tnone\nb.jpg\tdark\nb.jpg\tsmall\n")
    assert groups(f"file:{tmp_path / 't.tsv'}") == [("dark",), ("dark", "small"), ()]
    assert grouped(IMAGES, f"file:{tmp_path / 't.tsv'}").warnings == (
        f"data set 'd': 1 of 3 images are in no group of file:{tmp_path / 't.tsv'}",
    )


def test_factors_of_imagenet_x(tmp_path):
    row = {"file_name": "c.jpg", "class": 1, "pose": 1, "background": 0, "texture": 1, "one_word": "1"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    assert groups(f"file:{tmp_path / 'x.jsonl'}") == [(), (), ("pose", "texture")]


def test_columns_of_a_table_are_factors(tmp_path):
    (tmp_path / "t.csv").write_text("world,filename,light,n\nEgypt,n1/a.jpg,3,1\nCity,b.jpg,,1\n")
    rule = f"file:{tmp_path / 't.csv'}?columns=world,light"
    assert groups(rule) == [("world Egypt", "light 3"), ("world City",), ()]
    with pytest.raises(InputError, match="has no column 'wrold'; did you mean 'world'"):
        groups(rule.replace("world", "wrold"))
    (tmp_path / "t.csv").write_text("world,filename,light\nEgypt,n1/a.jpg\n")
    with pytest.raises(InputError, match=r"3 columns are expected in each line, not 'Egypt,n1/a.jpg'"):
        groups(rule)
    (tmp_path / "t.csv").write_text("world,light\nEgypt,3\n")
    with pytest.raises(InputError, match="none of its columns is called imageid, "):
        groups(rule)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg dark", "line 1: an id, a tab and a group are expected, not 'a.jpg dark'"),
        ("{}", "line 1: JSON with a file_name"),
        ("z.jpg\tdark", "names none of its 3 images"),
    ],
)
def test_a_table_that_says_nothing(tmp_path, line, said):
    (tmp_path / "t.tsv").write_text(line)
    with pytest.raises(InputError, match=said):
        groups(f"file:{tmp_path / 't.tsv'}")


@pytest.mark.parametrize("rule", ["column:x", "regex:(", "regex:abc", "regex:", "dark"])
def test_rules_that_say_nothing_whatever_the_images(rule):
    assert fault_of(rule)


def test_rules_that_may():
    assert not fault_of("file:t.tsv")
    assert not fault_of("regex:^(dry|rain)/")
