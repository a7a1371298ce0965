"""What a run survives: whatever happens, no figure is wrong, nothing finished is lost, and a sentence says what was.

Each fault is injected by a plugin of the test, once, after so many blocks were stored.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_robustness.evaluation.store import Store
from clip_robustness.evaluation.store.command import exported
from clip_robustness.reports.write import FILES, write_all
from clip_robustness.results.results import Results, read
from tests.conftest import Run
from tests.forks import Fork

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 48
[data]
imagenet = "mini:imagenet"
[conditions]
imagenet-c = { corruptions = ["fog", "contrast"], severities = [3] }
attacks = { names = ["fgsm"], eps = ["2/255"] }
[[rules]]
match = "*"
max_drop_vs_supervised = 0.5
"""
CELLS = 4  # of two models, each in three batches of 16
ONCE = """
import os, shutil, signal, subprocess
from pathlib import Path
from clip_robustness.evaluation.store import Store
from tests import ROOT

def once():
    {action}

stored, original = 0, Store.add

def add(self, *args):
    global stored
    original(self, *args)
    stored += 1
    if stored == {after}:
        try:
            Path({flag!r}).touch(exist_ok=False)
        except FileExistsError:
            return
        once()

Store.add = add
"""
DIES = "os.kill(os.getpid(), signal.SIGKILL)"


class Runs:
    """Runs of one suite with a report folder and a store of their own."""

    def __init__(self, folder: Path, suite: str = SUITE) -> None:
        self.folder, self.report_dir = folder, folder / "reports" / "run"
        folder.mkdir(exist_ok=True)
        (folder / "suite.toml").write_text(suite)

    def begin(self, *args: str, action: str = "", after: int = 14, hooks: str = "") -> Fork:
        """`action` is a line of Python that happens once `after` blocks were stored in one process."""
        if action:
            hooks += ONCE.format(action=action, after=after, flag=str(self.folder / "happened"))
        (self.folder / "fault.py").write_text(hooks)
        paths = ["-o", f"pythonpath=. {self.folder}"]
        files = [f"--suite={self.folder / 'suite.toml'}", f"--report-dir={self.report_dir}"]
        return Fork("pytest", "-p", "no:cacheprovider", "-p", "fault", "--batch-size=16", *paths, *files, *args)

    def end(self, process: Fork) -> Run:
        return Run(*process.communicate(), self.report_dir)

    def __call__(self, *args: str, **fault: str | int) -> Run:
        return self.end(self.begin(*args, **fault))

    @property
    def store(self) -> Store:
        return Store(self.report_dir.parent / "store", read_only=True)

    def stored(self) -> Counter:
        """How often each answer was stored: cell, image, prediction."""
        blocks = ((cell, block) for cell in self.store.cells() for block in self.store.read(cell)[0])
        return Counter((cell, *pair) for cell, b in blocks for pair in zip(b.ids, b.predictions, strict=True))


def rows(run):
    return [{key: value for key, value in cell.items() if key != "seconds"} for cell in run.cells]


def figures(cells):
    """What was measured: condition, parameters, model -> n, correct."""
    keyed = {(c["condition"], *c["params"].values(), c["model"]): (c["n"], c["correct"]) for c in cells}
    return {key: found for key, found in keyed.items() if found[0]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happens to."""
    runs = Runs(tmp_path_factory.mktemp("whole"))
    runs.run = runs()
    assert runs.run.code == 0, runs.run.output
    assert runs.stored().total() == 48 * 2 * CELLS
    assert all(cell["seconds"] > 0 for cell in runs.run.cells), "time that no row names"
    return runs


@pytest.fixture
def runs(tmp_path, monkeypatch):
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    return Runs(tmp_path)


def assert_goes_on(runs, whole):
    """The same command computes what is missing and nothing else, and all is as if nothing had happened."""
    run = runs()
    assert run.code == 0, run.output
    assert rows(run) == rows(whole.run)
    assert runs.stored() == whole.stored(), "an answer that differs, is missing, or was computed twice"


@contextmanager
def mounted(folder, options):
    """A small file system in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def elsewhere(run):
    """The folder that the run names instead of the one that it could not write to."""
    (sentence,) = re.findall(r"^(\S+ can't be written \(.*\): what belongs there is in .+)$", run.output, re.MULTILINE)
    folder = Path(sentence.rpartition(" is in ")[2])
    assert {file.name for file in folder.iterdir()} == set(FILES)
    return Run(run.code, run.output, folder)


def test_kill_9_of_the_run(runs, whole):
    killed = runs(action=DIES)
    assert killed.code == -signal.SIGKILL
    assert runs.stored().total() == 224, "fourteen blocks"
    results = read(runs.report_dir / "results.json")
    assert results.cells == []
    assert re.fullmatch(r"The run that began at \S+ has not ended, or was killed\.", results.partial)
    assert_goes_on(runs, whole)


def test_kill_9_of_a_worker(runs, whole):
    run = runs("-n", "2", action=DIES, after=4)
    assert run.code == 1, run.output
    (lost,) = [cell for cell in run.cells if cell["accuracy"] is None]
    assert (lost["verdict"], lost["reason"]) == ("not run", "the run ended before it, or its worker crashed")
    assert "1 of 4 cells were not run" in read(runs.report_dir / "results.json").partial
    assert figures(run.cells).items() < figures(whole.run.cells).items()
    assert_goes_on(runs, whole)


def test_a_full_disk(runs, whole):
    """Figures do not need the store, and reports that have no room there are written elsewhere."""
    write_all(Results("none yet", {}, [], []), runs.folder / "first", {})
    first = sum(-(-file.stat().st_size // 4096) * 4 for file in (runs.folder / "first").iterdir())
    with mounted(runs.report_dir.parent, f"size={first + 24}k"):
        run = runs()
        assert run.code == 3, run.output
        found = elsewhere(run)
        assert figures(found.cells) == figures(whole.run.cells)
        said = [warning for cell in found.cells for warning in cell["warnings"]]
        assert set(said) == {"outcomes could not be stored, another run computes them anew: No space left on device"}
        assert 0 < runs.stored().total() < whole.stored().total()
        subprocess.run(["mount", "-o", "remount,size=16m", str(runs.report_dir.parent)], check=True)
        assert_goes_on(runs, whole)


def test_damaged_files_of_the_store(runs, whole):
    shutil.copytree(whole.store.folder, runs.report_dir.parent / "store")
    flipped, cut, *_ = (runs.store.file(cell) for cell in runs.store.cells())
    content, rng = bytearray(flipped.read_bytes()), random.Random(0)
    for place in rng.sample(range(len(content)), 3):
        content[place] ^= 1 << rng.randrange(8)
    flipped.write_bytes(content)
    os.truncate(cut, cut.stat().st_size // 2)
    run = runs()
    assert run.code == 0, run.output
    assert figures(run.cells) == figures(whole.run.cells)
    said = [warning for cell in run.cells for warning in cell["warnings"]]
    damaged = [
        re.match(r"outcome store: [123] of [1-4] blocks of (.+) were damaged and were computed", s) for s in said
    ]
    assert sorted(found[1] for found in damaged) == sorted([str(flipped), str(cut)])
    assert sum(cell["seconds"] > 0 for cell in run.cells) == 2
    for file in runs.store.folder.glob("*.damaged"):
        file.unlink()
    assert_goes_on(runs, whole)


def test_two_runs_at_once_share_a_store_and_a_report_folder(runs, whole):
    both = [runs.begin(), runs.begin()]
    for process in both:
        run = runs.end(process)
        assert run.code == 0, run.output
        assert rows(run) == rows(whole.run)
    assert runs.stored() == whole.stored()
    assert {file.name for file in runs.report_dir.iterdir()} == set(FILES)


ENDINGS = {signal.SIGINT: 2, signal.SIGTERM: 143, signal.SIGHUP: 129}
AGAIN = """
import os, signal, clip_robustness.fixtures.recorder as plugin
inner = plugin.Recorder._report
def report(*args):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): os.kill(os.getpid(), number)
    inner(*args)
plugin.Recorder._report = report
"""


@pytest.mark.parametrize(("number", "code"), ENDINGS.items(), ids=lambda value: getattr(value, "name", ""))
def test_signals_and_others_while_the_reports_are_written(runs, whole, number, code):
    run = runs(action=f"os.kill(os.getpid(), {int(number)})", hooks=AGAIN)
    assert run.code == code, run.output
    assert_partial(runs, whole, "was interrupted" if code == 2 else f"was ended by {number.name}")


def test_sigterm_while_models_are_loaded(runs):
    dies = (
        "import os\nfrom clip_robustness import models\nfrom clip_robustness.models import remembered\n"
        "remembered._YOUNG = 1e12\ndef load(*args): os.kill(os.getpid(), 15)\nmodels.load = load\n"
    )
    run = runs(hooks=dies)
    assert run.code == 143, run.output
    assert {file.name for file in runs.report_dir.iterdir()} == set(FILES)
    said = "The run ended before anything was measured: SIGTERM was received"
    assert read(runs.report_dir / "results.json").partial == said


def test_a_signal_that_is_ignored_stays_so(runs, whole):
    """Under nohup a terminal may be closed."""
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    run = runs(action="os.kill(os.getpid(), signal.SIGHUP)", hooks=ignored)
    assert run.code == 0, run.output
    assert rows(run) == rows(whole.run)


def test_sigterm_twice_with_workers(runs, whole):
    """As Kubernetes sends it: to the first process alone."""
    process = runs.begin("-n", "2", "-v")
    assert any(b"PASSED" in line for line in process.stdout), "no cell finished"
    for _ in range(2):
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.2)
    run = runs.end(process)
    assert run.code == 143, run.output
    assert_partial(runs, whole, "was ended by SIGTERM")


def test_ctrl_c_twice_with_workers(runs, whole):
    """As a terminal sends it: to all processes at once."""
    process = runs.begin("-n", "2", "-v")
    assert any(b"PASSED" in line for line in process.stdout), "no cell finished"
    for _ in range(2):
        os.killpg(os.getpgid(process.pid), signal.SIGINT)
        time.sleep(0.2)
    run = runs.end(process)
    assert run.code == 2, run.output
    assert_partial(runs, whole, "was interrupted")


def assert_partial(runs, whole, why):
    assert {file.name for file in runs.report_dir.iterdir()} == set(FILES)
    results = read(runs.report_dir / "results.json")
    assert re.fullmatch(rf"The run {why}: [1-4] of 4 cells were not run\.", results.partial)
    assert len(results.missing) == int(results.partial.split(": ")[1][0])
    cells = Run(2, "", runs.report_dir).cells
    assert len(figures(cells)) > 0
    assert figures(cells).items() < figures(whole.run.cells).items()
    assert_goes_on(runs, whole)


def test_a_clock_that_jumps(runs, whole):
    """Set back by years, then forward, with every look at it."""
    jumping = (
        "import datetime, itertools, sys, time\n"
        "jumps = itertools.cycle([0, -3e8, 3e8, -6e8])\n"
        "now = time.time\n"
        "time.time = lambda: now() + next(jumps)\n"
        "time.time_ns = lambda: int(time.time() * 1e9)\n"
        "class Jumping(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return cls.fromtimestamp(time.time(), tz)\n"
        "real, datetime.datetime = datetime.datetime, Jumping\n"
        "for module in [*sys.modules.values()]:  # what is imported already has a name of its own for it\n"
        "    if getattr(module, 'datetime', None) is real: module.datetime = Jumping\n"
    )
    run = runs("--time-limit", "10m", hooks=jumping)
    assert run.code == 0, run.output
    assert rows(run) == rows(whole.run)
    blocks = [block.about.at[:4] for cell in runs.store.cells() for block in runs.store.read(cell)[0]]
    assert len(set(blocks)) > 2, "the clock did not jump"
    jump = 3e8
    assert 0 < read(runs.report_dir / "results.json").environment["seconds"] < jump / 10
    assert all(0 <= cell["seconds"] < jump / 10 for cell in run.cells)
    assert_goes_on(runs, whole)


def test_a_file_in_the_place_of_the_report_folder(runs, whole):
    folder = str(runs.report_dir)
    run = runs(action=f"shutil.rmtree({folder!r}); Path({folder!r}).write_text('')")
    assert run.code == 3, run.output
    assert rows(elsewhere(run)) == rows(whole.run)
    runs.report_dir.unlink()
    assert_goes_on(runs, whole)


def test_a_report_folder_that_becomes_read_only(runs, whole):
    remount = ["mount", "-o", "remount,ro", str(runs.report_dir)]
    with mounted(runs.report_dir, "size=16m"):
        run = runs("--record", "one", action=f"subprocess.run({remount!r}, check=True)")
        assert run.code == 3, run.output
        assert rows(elsewhere(run)) == rows(whole.run)
        assert "recorded: " in run.output
        run = runs()
        assert run.code == 4, "before anything is computed"
        (sentence,) = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
        assert re.search(r"--report-dir: .*Read-only file system", sentence)
    assert_goes_on(runs, whole)


def test_a_data_set_that_changes_during_the_run(runs, image_folder):
    folder = image_folder({f"m{i:08d}": 5 for i in range(24)}, "photos")
    suite = SUITE.replace('"mini:imagenet"', f'"{folder}"').replace("samples = 48\n", "")
    changing, last = Runs(runs.folder / "changing", suite), folder / "m00000023" / "4.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(runs.folder / "other.png")
    run = changing(action=f"shutil.copy({str(runs.folder / 'other.png')!r}, {str(last)!r})", after=3)
    assert run.code == 0, run.output
    assert {cell["n"] for cell in run.cells} == {119}
    said = {warning for cell in run.cells for warning in cell["warnings"] if "published" not in warning}
    assert said == {
        "data set 'imagenet': 1 images were replaced or removed during the run (first: m00000023/4.png) and are left "
        "out; run again for figures of one state of the data",
        "data set 'imagenet': 1 of 120 images can't be decoded, or changed during the run (first: m00000023/4.png)",
    }
    again, fresh = changing(), Runs(runs.folder / "fresh", suite)
    assert again.code == 0, again.output
    assert rows(again) == rows(fresh())
    assert changing.stored() == fresh.stored()
    assert len(list(exported(changing.store))) == 120 * 2 * CELLS
