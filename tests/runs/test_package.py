"""The package from outside: what it names, and its command."""

import doctest
import json
import os
import subprocess
import sys

import pytest

import clip_robustness
from clip_robustness import api
from clip_robustness.__main__ import COMMANDS, main
from clip_robustness.conditions.condition import CLEAN, attack, corruption, natural, stylized
from clip_robustness.conditions.ids import condition_of
from clip_robustness.errors import InputError
from tests import ROOT
from tests.forks import Fork


def run(*command, folder):
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("line", ["import clip_robustness", "from clip_robustness import attack, corruption"])
def test_what_plugins_import_is_light(line, tmp_path):
    heavy = "{'torch', 'numpy', 'open_clip', 'timm', 'pytest'} & sys.modules.keys()"
    done = run("-c", f"{line}; import sys; sys.exit(str({heavy}) if {heavy} else 0)", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_everything_that_is_named_is_there():
    for name in clip_robustness.__all__:
        assert callable(getattr(clip_robustness, name))
    with pytest.raises(AttributeError, match="has no attribute 'load_modell'"):
        _ = clip_robustness.load_modell


def test_the_examples_of_the_interface_hold():
    failed, tried = doctest.testmod(api)
    assert (failed, tried > 4) == (0, True)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("clean", CLEAN),
        ("bim-8/255", attack("bim", "8/255")),
        ("bim-1/510", attack("bim", "0.5/255")),
        ("transfer-mim-8/255", attack("transfer-mim", "8/255")),
        ("apgd-ce-4/255", attack("apgd-ce", "4/255")),
        ("imagenet-c-gaussian_noise-3", corruption("gaussian_noise", 3)),
        ("typographic", attack("typographic")),
        ("stylized-local", stylized("stylized-local")),
        ("imagenet-v2", natural("imagenet-v2")),
        ("night", natural("night")),
    ],
)
def test_conditions_by_their_ids(text, condition):
    assert condition_of(text) == condition
    assert condition_of(condition.id) == condition


@pytest.mark.parametrize(
    "text", ["imagenet-c-fogg-3", "imagenet-c-fog-6", "imagenet-c-fog", "bim-0", "imagenet-p-tilt-4"]
)
def test_ids_of_no_condition(text):
    with pytest.raises(InputError):
        condition_of(text)


def test_the_command_lists_what_it_does(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)
    assert main(["rnu"]) == 4
    assert "usage: clip-robustness COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["ls", "calibrate", "prefetch --to there", "overlap --pretraining there --encoder mini:filter", "validate",
     "store --store . gc", "merge there -o there"],
)  # fmt: skip
def test_every_command_refuses_an_unknown_suite_as_run_does(tmp_path, monkeypatch, capfd, command):
    monkeypatch.chdir(tmp_path)
    suite = ["nope"] if command == "validate" else ["--suite", "nope"]
    assert main([*command.split(), *suite]) == 4
    assert "--suite nope: neither a file nor a shipped suite; known: extended, mini, photos" in capfd.readouterr().err
    assert not (tmp_path / "there").exists()


def test_wrong_options_are_4_as_pytest_has_it(capsys):
    assert main(["calibrate", "--samples", "none"]) == 4
    assert "a positive number is expected, not none" in capsys.readouterr().err


def test_a_run_in_any_folder_leaves_its_reports_there_and_can_be_repeated(tmp_path):
    """What is named exists by the second time: pytest alone takes it for a place to look for its configuration."""
    (tmp_path / "elsewhere").mkdir()
    command = ["clip_robustness", "run", "--samples", "8", "-k", "clip-clean", "--gallery", "0"]
    command += ["--report-dir", str(tmp_path / "out"), "-q"]
    for _ in range(2):
        code, said = Fork(*command, folder=tmp_path / "elsewhere").communicate()
        assert code == 0, said
        cells = json.loads((tmp_path / "out" / "results.json").read_text())["cells"]
        assert {cell["condition"] for cell in cells} >= {"clean"}
    render = Fork("clip_robustness", "render", str(tmp_path / "out" / "results.json"), folder=tmp_path)
    assert render.wait() == 0
