"""No longer silence than half a minute where nobody sees progress bars: what is being done is said."""

import re
import threading

import pytest

from clip_robustness import __main__, doing
from clip_robustness.evaluation.store import command
from tests.forks import Fork


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(doing, "EVERY", 0.01)


def said(lines):
    """What a heartbeat says first."""
    heard, line = threading.Event(), []

    def say(text):
        line.append(text)
        heard.set()

    with doing.heartbeat(lines, say):
        assert heard.wait(30)
    return line[0]


def test_what_is_begun_last_is_said(often):
    assert doing.EVERY < 30
    with doing.doing("listing images"):
        with doing.doing("drawing mini:imagenet"):
            assert said(doing.current) == "drawing mini:imagenet, 0 s so far"
        with doing.progress(40, "zero-shot head", "text") as done:
            done(3)
            done(4)
            assert said(doing.current) == "zero-shot head 7/40, 0 s so far"
        assert doing.current() == ["listing images, 0 s so far"]
    assert doing.current() == []


def test_commands_that_take_long_say_so(often, monkeypatch, capsys):
    def main(name, arguments):
        while "clip-robustness store, 0 s so far" not in capsys.readouterr().err:
            pass
        return 0

    monkeypatch.setattr(command, "main", main)
    assert __main__.main(["store", "list"]) == 0


SLOWLY = """
import time
from clip_robustness import doing
from clip_robustness.fixtures import progress
doing.EVERY, progress._SILENT, progress._POLL = 0.05, 0, 0.05

def slowed(owner, name):
    function = getattr(owner, name)
    def slow(*args, **options):
        result = function(*args, **options)
        time.sleep(0.25)
        return result
    setattr(owner, name, slow)

from clip_robustness import models
from clip_robustness.datasets import load
from clip_robustness.evaluation.store import Store
from clip_robustness.reports import write
slowed(models, "load")
slowed(load, "load")
slowed(Store, "add")
slowed(write, "views")
"""
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
samples = 8
[data]
imagenet = "mini:imagenet"
[conditions]
natural = []
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_log_has_a_line_on_whatever_a_run_does(tmp_path, toml, workers):
    (tmp_path / "slowly.py").write_text(SLOWLY)
    code, output = Fork(
        "pytest", "-p", "no:cacheprovider", "-p", "slowly", "-o", f"pythonpath=. {tmp_path}", "--batch-size=2",
        "--verify", f"--suite={toml(SUITE)}", f"--report-dir={tmp_path / 'run'}", *workers,
    ).communicate()  # fmt: skip
    assert code == 0, output
    for line in (
        r"loading mini:clip, \d+ s so far",
        r"listing the images of imagenet, \d+ s so far",
        r"clean mini:clip [246]/8, \d+\.\d% \[.*\], \S+ images/s, .* left",
        r"writing the reports, \d+ s so far",
    ):
        assert re.search(rf"^  {line}$", output, re.M), (line, output)
