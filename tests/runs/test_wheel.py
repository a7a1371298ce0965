"""What a wheel holds, and what can be done in an empty folder by who installs it, beside a package of others."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests import ROOT

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
plugins = ["signs.py"]
samples = 8
[data]
imagenet = "mini:imagenet"
night = "night"
[conditions]
natural = ["night"]
corruptions = { names = ["invert"], severities = [1] }
attacks = { names = ["signs"], eps = ["8/255"] }
[[rules]]
match = "natural/*"
min_accuracy = 0.0
"""
SIGNS = """
from clip_robustness import attack

@attack("signs", access="black-box", source="Doe 2025")
def signs(model, images, labels, eps, rngs):
    return (images + eps).clamp(0, 1)
"""
FOREIGN = {
    "shifts_of_others.py": "def invert(image, severity, rng):\n    return 255 - image\n",
    "shifts_of_others-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: shifts_of_others\nVersion: 1.2\n",
    "shifts_of_others-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "shifts_of_others-1.2.dist-info/entry_points.txt": "[clip_robustness.corruptions]\n"
    "invert = shifts_of_others:invert\n",
    "shifts_of_others-1.2.dist-info/RECORD": "",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # else what an earlier build left there is packed, too
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)]
    subprocess.run(command, cwd=folder, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_a_wheel_holds_the_package_and_nothing_that_a_run_left(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name.removeprefix("clip_robustness/") for name in names if name.startswith("clip_robustness/")}
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    links = ("models", "fixtures", "reports", "robustness_tests")
    expected = {
        file.removeprefix("src/clip_robustness/") for file in tracked if file.startswith("src/clip_robustness/")
    }
    expected |= {file for file in tracked if file.startswith(tuple(f"{link}/" for link in links))}
    assert package == expected - {*links, "reports/example.png"}
    assert {name.partition("/")[0] for name in names} == {
        "clip_robustness",
        wheel.name.rsplit("-", 3)[0] + ".dist-info",
    }


def test_from_a_wheel_to_a_report_in_an_empty_folder(wheel, tmp_path, image_folder):
    foreign = tmp_path / "shifts_of_others-1.2-py3-none-any.whl"
    with zipfile.ZipFile(foreign, "w") as archive:
        for name, text in FOREIGN.items():
            archive.writestr(name, text)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}
    venv.create(tmp_path / "venv", symlinks=True)
    bin = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(bin / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel), str(foreign)], check=True, env=environment)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # as after an installation with dependencies
    image_folder({"m00000000": 4, "m00000001": 4}, "empty/night")
    folder = tmp_path / "empty"
    (folder / "my.toml").write_text(SUITE)
    (folder / "signs.py").write_text(SIGNS)

    def run(*command):
        done = subprocess.run(
            [str(bin / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True, check=False,
            env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = run("clip-robustness", "ls", "--suite", "my.toml")
    assert "shifts_of_others 1.2" in next(line for line in listed.splitlines() if "invert" in line)
    assert f"of {folder / 'signs.py'}" in next(line for line in listed.splitlines() if "signs" in line)
    assert "nothing is wrong that can be found" in run("clip-robustness", "validate", "my.toml")
    run("clip-robustness", "run", "--suite", "my.toml", "-q")
    cells = json.loads((folder / "reports" / "latest" / "results.json").read_text())["cells"]
    measured = {cell["condition"]: cell["accuracy"] for cell in cells if cell["role"] == "candidate"}
    assert measured.keys() == {"clean", "night", "corruption", "signs"}
    assert None not in measured.values()
    assert "corruption invert" in (folder / "reports" / "latest" / "report.html").read_text()
