"""`clip-robustness ls` lists what can be named, and what it lists can be named."""

import json

import pytest

from clip_robustness import suites
from clip_robustness.__main__ import main
from clip_robustness.suites.listing import GROUPS, listed
from clip_robustness.suites.rules import limit_names
from tests.suites.test_validate import GOOD, MINE

pytestmark = pytest.mark.usefixtures("nothing_registered")


def names(*groups, suite=None):
    return [entry.name for entry in listed(groups, suite)]


def test_what_the_embedded_suite_names_is_listed():
    conditions = names("conditions", "attacks")
    for condition in suites.load("mini").conditions:
        if condition.family not in ("overlap", "clean"):
            assert any(condition.id.startswith(name) for name in conditions), condition.id
    assert len(conditions) == len(set(conditions))
    assert {*names("limits")} == {*limit_names()}


def test_what_is_listed_can_be_named(toml, tmp_path):
    (tmp_path / "it").touch()
    needs = {entry.name: entry.needs for entry in listed(["attacks"]) if ":" not in entry.name}
    attacks = list(needs)
    alone = [name for name in attacks if "a file" not in needs[name]]
    text = GOOD.replace('plugins = ["mine.py"]\n', "").replace('"signs", "fgsm"', ", ".join(map(repr, alone)))
    of_files = (f'{{ names = ["{name}"], eps = ["8/255"], file = "it" }}' for name in attacks if name not in alone)
    text = text.replace("attacks = [", f"attacks = [{', '.join(of_files)}, ")
    natural = [entry.name for entry in listed(["conditions"]) if entry.family == "natural"]
    text = text.replace('"imagenet-a"', ", ".join(map(repr, natural))).replace('"posterize", ', "")
    suite = suites.load(toml(text))
    assert {condition.name for condition in suite.conditions} >= {*attacks, *natural}


def test_a_suites_own_and_their_origin(toml, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    assert main(["ls", "--suite", toml(GOOD), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {entry["group"] for entry in entries} == {*GROUPS}
    found = {(entry["group"], entry["name"]): entry for entry in entries}
    for key in (("conditions", "corruption-posterize"), ("attacks", "signs")):
        assert found[key]["origin"].endswith("mine.py")
    assert found["conditions", "night"]["needs"] == "data night"
    assert found["data", "night"]["about"] == "at mini:imagenet-v2"
    assert found["conditions", "imagenet-a"]["source"] == "Hendrycks et al. 2021"
    assert found["conditions", "imagenet-c-fog"]["source"] == "Hendrycks & Dietterich 2019, section 3 (ImageNet-C)"
    assert found["conditions", "corruption-posterize"]["source"] == ""  # its file names none
    assert found["attacks", "signs"]["source"] == ""
    ours = [e for e in entries if e["group"] in ("conditions", "attacks") and e["origin"] == "clip_robustness"]
    assert {entry["name"] for entry in ours if not entry["source"]} == {"night"}
    assert found["attacks", "transfer-mim"]["needs"] == "data imagenet, a surrogate"
    assert found["conditions", "objectnet-all-names"]["needs"] == "data objectnet, a zero-shot model"


def test_groups_and_lines(capsys):
    assert main(["ls", "limits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "limits:"
    assert len(lines) == 1 + len(limit_names())
    assert main(["ls", "limit"]) == 4
    assert "there is no group 'limit'; known: conditions" in capsys.readouterr().err
    assert main(["ls", "--suite", "minni"]) == 4
