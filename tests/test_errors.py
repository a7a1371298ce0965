"""How mistakes, and numbers of things, are put into words."""

import pytest

from clip_robustness.errors import number_of, sentence
from clip_robustness.reports.command import main


@pytest.mark.parametrize(
    ("open_it", "says"),
    [
        (lambda folder: (folder / "gone.json").read_text(), "gone.json: there is no such file or folder"),
        (lambda folder: (folder / "file" / "report").write_text(""), "a file that stands where a folder is needed"),
        (lambda folder: (folder / "file").mkdir(), "file: a file that stands where a folder is needed"),
        (lambda folder: folder.read_text(), ": a folder, where a file is needed"),
        (lambda folder: (folder / ("x" * 300)).touch(), "x: File name too long"),
    ],
)
def test_what_the_system_refuses_is_a_sentence_that_names_the_file(tmp_path, open_it, says):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as error:  # noqa: PT011
        open_it(tmp_path)
    assert sentence(error.value).startswith(str(tmp_path))
    assert sentence(error.value).endswith(says)


def test_numbers_of_things():
    said = [number_of(n, *words) for words in (("limit",), ("cell was", "cells were")) for n in (0, 1, 2)]
    assert said == ["0 limits", "1 limit", "2 limits", "0 cells were", "1 cell was", "2 cells were"]


@pytest.mark.parametrize("command", ["render", "merge", "comment", "site", "history"])
def test_an_unknown_option_shows_those_of_its_command(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(
            command,
            ["a.json", "--out=x", "--colour", "red"] if command in ("merge", "site") else ["a.json", "--colour"],
        )
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: clip-robustness {command} ")
    assert "unrecognized arguments: --colour" in said
