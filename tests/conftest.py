"""What the suite's own tests share."""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_robustness import registry, suites
from clip_robustness.mini.data import mini_folder
from clip_robustness.overlap.found import Calibration, Found, Overlap, Pair, write
from tests import ROOT
from tests.forks import Fork

# in a shell's background the one is ignored, under nohup the other: what is run here would ignore them, too
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collect_file() -> None:
    """Before the first file of these tests is imported; this conftest itself is, by every run in the checkout."""
    from hypothesis import settings

    # a deadline would fail what is right on a busy machine; CI tries the same examples each time, so that a change is
    # not red for what it did not touch, and a desk tries others
    settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is begun last should not take long, as one worker waits for the other."""
    slow = "runs conditions evaluation overlap models calibration metrics verdicts reports gpu prompts test_doing.py"
    places = [ROOT / "tests" / name for name in (*slow.split(), "test_security.py")]
    items.sort(key=lambda item: not any(item.path.is_relative_to(place) for place in places))
    items.sort(key=lambda item: not item.path.is_relative_to(places[0]))


def pytest_collection_finish() -> None:
    """What is imported by now is no garbage, and is not looked through again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plugins of a test are nobody else's."""
    registry.forget()
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    registry.forget()


@dataclass
class Run:
    """A finished `pytest` process of the suite."""

    code: int
    output: str
    report_dir: Path

    @property
    def cells(self) -> list[dict]:
        return json.loads((self.report_dir / "results.json").read_text())["cells"]

    def cell(self, label: str, role: str = "candidate") -> dict:
        def labelled(cell: dict) -> str:
            return " ".join([cell["condition"], *map(str, cell["params"].values())])

        (found,) = [c for c in self.cells if labelled(c) == label and c["role"] == role]
        return found


def run_pytest(report_dir: Path, *args: str) -> Run:
    code, output = Fork("pytest", "-p", "no:cacheprovider", f"--report-dir={report_dir}", *args).communicate()
    return Run(code, output, report_dir)


@pytest.fixture
def suite_run(tmp_path: Path) -> Callable[..., Run]:
    """Run the suite in a process of its own, reports and store in a folder of its own."""
    return lambda *args: run_pytest(tmp_path / "reports" / "run", *args)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    """Write a suite TOML; returns its path."""

    def written(text: str) -> str:
        file = tmp_path / "suite.toml"
        file.write_text(text)
        return str(file)

    return written


def many_cells(folder: Path) -> str:
    """The text of a suite of more than two thousand: the embedded default with a plugin, of thirty candidates."""
    (folder / "mine.py").write_text(
        "from clip_robustness import corruption\n"
        "@corruption('posterize')\ndef posterize(image, severity, rng): return image\n"
    )
    specs = [f"timm:resnet50@{folder / f'{i}.pt'}" for i in range(30)]
    for i in range(30):
        (folder / f"{i}.pt").touch()
    text = (suites.FOLDER / "mini.toml").read_text().replace('["mini:clip"]', repr(specs))
    text = text.replace("\nsamples = 480", '\nplugins = ["mine.py"]\nsamples = 480')
    return text.replace("\nstylized =", '\ncorruptions = { names = ["posterize"] }\nstylized =')


def write_overlap(file: Path, ids: Mapping[str, Iterable[str]]) -> None:
    """An overlap.json by which these images of a data set overlap with the pre-training images."""
    limits = Calibration(0.5, 0.9, 10, 10, 10, 0)
    pairs = {name: tuple(Pair(id, "web/0", 0.9, 0.95) for id in sorted(own)) for name, own in ids.items()}
    data = {name: Overlap(480, limits, own) for name, own in pairs.items()}
    write(Found("mini:filter", "x", 1, "exact", data, ("a shard",)), file)


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write an image folder: class folder -> number of images of 64 px, drawn ones of the drawn world's classes, else
    noise."""

    def written(counts: dict[str, int], name: str = "images") -> Path:
        rng, drawn = np.random.default_rng(0), mini_folder("imagenet")
        for folder, count in counts.items():
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
            pictures = sorted((drawn / folder).glob("*.png"))
            for i in range(count):
                noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
                image = Image.open(pictures[i]) if pictures else noise
                image.save(tmp_path / name / folder / f"{i}.png")
        return tmp_path / name

    return written


@pytest.fixture
def run_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """As `suite_run`, in this process and with hooks of the test: many times as fast."""

    def run(*args: str, hooks: object = None) -> Run:
        report_dir = tmp_path / "reports" / "run"
        given = ["-p", "no:cacheprovider", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
        if not any(arg.startswith(str(ROOT)) for arg in args):
            given.append(str(ROOT / "robustness_tests"))
        code = pytest.main([*given, f"--report-dir={report_dir}", *args], plugins=[hooks] if hooks else [])
        out, err = capfd.readouterr()
        return Run(int(code), out + err, report_dir)

    return run
