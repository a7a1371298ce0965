"""`--engine ray` over three hosts of a network of their own: one is lost in the middle, one lacks a set's images."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from clip_robustness import models
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.sets import picture
from clip_robustness.mini.world import CLASSES
from clip_robustness.results.results import read
from tests import ROOT
from tests.conftest import run_pytest

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

SUITE = """
classes = "mini"
candidate = ["mini:clip", "python:tests.runs.test_hosts:slow"]
[data]
imagenet = "flat:everywhere?labels=labels.json"
imagenet-v2 = "flat:here/but-not-on-lacking?labels=labels.json"
[conditions]
natural = ["imagenet-v2"]
imagenet-c = { corruptions = ["fog"], severities = [3] }
attacks = [{ names = ["fgsm"], eps = ["1/255"] }]
[[rules]]
match = "*"
min_accuracy = 0.1
"""
BEGAN = "HOSTS_TEST_BEGAN"
"""The folder where a host notes that it computes something."""
IMAGES = 48
START = (
    sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--object-store-memory=200000000",
    "--include-log-monitor=false",
)  # fmt: skip
RAY = {
    "AUTH_MODE": "token", "AUTH_TOKEN": "0" * 64, "worker_niceness": "0",
    "health_check_period_ms": "500", "health_check_failure_threshold": "4",
}  # fmt: skip
NETWORK = "10.213.77"


def slow(spec, classes, device):
    """mini:clip, which lets others do something, too."""
    inner = models.load("mini:clip", classes, device)
    forward = inner.net.forward

    def noted(images):
        if "RAY_JOB_ID" in os.environ:
            (Path(os.environ[BEGAN]) / socket.gethostname()).touch()
            time.sleep(0.05)
        return forward(images)

    inner.net.forward = noted
    inner.fingerprint = "slow"  # else both are one model, which is asked once
    return inner


def _wait(until: Callable[[], bool]) -> None:
    late = time.monotonic() + 120
    while not until():
        assert time.monotonic() < late
        time.sleep(0.1)


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Host:
    name: str
    number: int

    @property
    def network(self) -> str:
        """The namespace of this process, of which another may run these tests, too."""
        return f"{self.name}-{os.getpid()}"

    @property
    def link(self) -> str:
        return f"clip{self.number}-{os.getpid()}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    def start(self, *command: str | Path, hidden: Sequence[Path] = (), **given) -> subprocess.Popen:
        """In the network and under the name of the host, with all files but those below the folders `hidden`."""
        hide = "".join(f"mount -t tmpfs none '{folder}' && " for folder in hidden)
        inner = f'hostname {self.name} && {hide}exec "$@"'
        apart = ("ip", "netns", "exec", self.network, "unshare", "--uts", "sh", "-c", inner, "sh")
        return subprocess.Popen([*apart, *map(str, command)], cwd=ROOT, **given)

    def kill(self) -> None:
        """As by a power cut."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.network], capture_output=True, text=True, check=False
        ).stdout
        for pid in found.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), 9)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare"))):
        pytest.skip("hosts of their own network need root, iproute2 and unshare")
    found, bridge = [Host(name, n) for n, name in enumerate(("leading", "lost", "lacking"), 1)], f"clip-{os.getpid()}"
    try:
        try:
            _run("ip", "link", "add", bridge, "type", "bridge")
            _run("ip", "link", "set", bridge, "up")
            for host in found:
                _run("ip", "netns", "add", host.network)
                _run("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.network)
                _run("ip", "link", "set", host.link, "master", bridge, "up")
                inside = ("ip", "-n", host.network)
                _run(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
                for device in ("lo", "eth0"):
                    _run(*inside, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces can't be made here: {error.stderr.strip()}")
        yield found
    finally:
        for host in found:
            host.kill()
            subprocess.run(["ip", "link", "delete", host.link], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "delete", host.network], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


@pytest.fixture
def suite(tmp_path) -> Path:
    labels = {}
    for place in ("everywhere", "here/but-not-on-lacking"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(IMAGES):
            pixels, label = picture("imagenet", i)
            Image.fromarray(pixels).save(tmp_path / place / f"{i:02d}.png")
            labels[f"{i:02d}.png"] = CLASSES[label]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path / "suite.toml"


def _rows(report_dir: Path) -> dict[tuple[str, str], tuple]:
    cells = read(report_dir / "results.json").cells
    return {(c.model, c.id): (c.n, c.accuracy, c.verdict, c.reason) for c in cells}


def test_a_host_that_is_lost_costs_no_row_and_one_that_lacks_images_is_named(hosts, suite, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_pytest(tmp_path / "local" / "run", f"--suite={suite}", "--batch-size=2")
    began, logged, temporary = tmp_path / "began", tmp_path / "ray.log", Path(tempfile.mkdtemp(prefix="r"))
    began.mkdir()
    leading, lost, lacking = hosts
    address = f"{leading.address}:6379"
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    monkeypatch.setenv(BEGAN, str(began))
    monkeypatch.setenv("RAY_ADDRESS", address)
    for name, value in RAY.items():
        monkeypatch.setenv(f"RAY_{name}", value)

    def join(host: Host, *given: str, hidden: Sequence[Path] = ()) -> None:
        own = (f"--node-ip-address={host.address}", f"--temp-dir={temporary}", *given)  # short: sockets have long names
        with logged.open("a") as log:
            host.start(*START, *own, hidden=hidden, stdout=log, stderr=log)

    def joined(count: int) -> bool:
        return logged.read_text().count("Ray runtime started.") == count

    try:
        join(leading, "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
        _wait(lambda: joined(1))
        for host, hidden in ((lost, [temporary]), (lacking, [temporary, suite.parent / "here"])):
            join(host, f"--address={address}", "--num-cpus=1", hidden=hidden)
        _wait(lambda: joined(3))
        run = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--engine=ray", "--batch-size=2")
        report_dir = tmp_path / "ray" / "run"
        driver = leading.start(
            *run, f"--suite={suite}", f"--report-dir={report_dir}", stdout=subprocess.PIPE, text=True
        )
        _wait(lambda: (began / lost.name).exists() or driver.poll() is not None)
        lost.kill()
        said, _ = driver.communicate(timeout=200)
    finally:
        for host in hosts:
            host.kill()
        shutil.rmtree(temporary, ignore_errors=True)
    assert {file.name for file in began.iterdir()} == {lost.name, lacking.name}, said
    assert driver.returncode == 1
    local, ray = _rows(tmp_path / "local" / "run"), _rows(report_dir)
    whole = {key for key in local if key[1] != "imagenet-v2"}
    assert len(whole) == 6
    assert {key: ray[key] for key in whole} == {key: local[key] for key in whole}
    for key in local.keys() - whole:
        assert ray[key][2] == "error"
        assert re.match(
            rf"--engine ray: node lacking lacks \d images .*{suite.parent}/here/.*all nodes need them", ray[key][3]
        )
    store = Store(tmp_path / "ray" / "store", read_only=True)
    outcomes = Counter((cell, id) for cell in store.cells() for block in store.read(cell)[0] for id in block.ids)
    assert len(outcomes) >= len(whole) * IMAGES
    assert {*outcomes.values()} == {1}
