"""Files of published figures: what is wrong with them is told by line."""

import pytest

from clip_robustness.errors import InputError
from clip_robustness.suites.figures import looked_through, read


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,imagenet-v3,0.5", "line 2: there is no condition 'imagenet-v3'; did you mean 'imagenet-v2'"),
        ("a,imagenet-v2,63.3", r"line 2: value '63.3' is outside \[0, 1\]; a share is meant, not percent"),
        ("a,imagenet-v2,-0.1", r"value '-0.1' is outside \[0, 1\]"),
        ("a,imagenet-v2,nan", r"value 'nan' is outside \[0, 1\]"),
        ("a,clean@imagnet,0.5", "neither a class list nor a named subset; did you mean 'imagenet'"),
        ("a,bim-9,0.5", "line 2: "),
        ("a,,0.5", "a figure has a condition"),
        ("a,clean,0.5,1", "no more fields"),
    ],
)
def test_a_figure_that_can_not_be_is_named_with_its_line(tmp_path, line, said):
    file = tmp_path / "mine.csv"
    file.write_text(f"model,condition,value\n{line}\n")
    with pytest.raises(InputError, match=said) as error:
        read(file)
    assert str(file) in str(error.value)


def test_an_unknown_column_is_named(tmp_path):
    (tmp_path / "mine.csv").write_text("model,condition,valeu\n")
    with pytest.raises(InputError, match="unknown column 'valeu'; did you mean 'value'"):
        read(tmp_path / "mine.csv")


def test_all_lines_that_are_wrong_are_told_and_the_others_are_read(tmp_path):
    (tmp_path / "mine.csv").write_text("model,condition,value\na,clean,2\nb,clean,0.5\nc,cleen,0.5\n")
    found, wrong = looked_through(tmp_path / "mine.csv")
    assert [row.model for row in found.rows] == ["b"]
    assert [said.partition(": ")[0].rpartition(", ")[2] for said in wrong] == ["line 2", "line 4"]
