"""The how-to pages as a reader follows them, in an empty folder: the files that they show are written, their commands
run, and what these print is what the pages say, `...` standing for anything."""

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ROOT, forks

PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    with forks.commands(tmp_path_factory.mktemp("commands") / "bin") as folder:
        yield folder


@dataclass(frozen=True)
class Step:
    command: str
    says: str


def steps(block):
    """Of a `console` block: a command after each `$ `, going on in the next line after a backslash, then its output."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, said = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*\n)(.*)", part, re.DOTALL).groups()
        yield Step(command, said)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page, tmp_path, commands):
    path = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT / "src")}
    ran = 0
    for kind, title, block in _BLOCK.findall(page.read_text()):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(block)
        for step in steps(block) if kind == "console" else ():
            done = subprocess.run(
                ["bash", "-c", step.command],
                cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                close_fds=False,
            )  # fmt: skip
            same = doctest.OutputChecker().check_output(step.says, done.stdout, doctest.ELLIPSIS)
            assert same, f"$ {step.command}says\n{done.stdout}\nand the page\n{step.says}"
            ran += 1
    assert ran
