"""What explains a figure that differs; all causes and right set-ups are in tests/benchmarks/test_calibration.py."""

import json
from dataclasses import replace

import pytest

from clip_robustness.__main__ import main
from clip_robustness.calibration import command
from clip_robustness.calibration.report import lines, write
from clip_robustness.calibration.setup import Bench, Setup
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.datasets.classes import class_list
from clip_robustness.models.spec import parse
from clip_robustness.models.zero_shot import ZeroShot
from tests.calibration.planted import CLIP, SETS, calibration, figures, session_of
from tests.calibration.planted import write as draw


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Two sets, and what the model has on them."""
    folder = tmp_path_factory.mktemp("right")
    data = {name: draw(folder / name, SETS[name], each=5) for name in ("imagenet", "imagenet-a")}
    return data, figures(folder, CLIP, data)


def test_a_set_up_that_is_right_has_no_cause(tmp_path, right):
    found = calibration(tmp_path, CLIP, *right)
    assert [c.status for c in found.comparisons] == ["agrees", "agrees"]
    assert (found.findings, found.tried, command.exit_code(found)) == ([], [], 0)


def test_one_template_is_named_and_the_set_that_it_does_not_change_is_heeded(tmp_path, right):
    found = calibration(tmp_path, f"{CLIP}?prompts=simple", *right)
    assert {(finding.cause, finding.with_it) for finding in found.findings} == {
        ("prompts", "without prompts=simple of the spec")
    }
    assert command.exit_code(found) == 1


def test_a_figure_that_no_change_gives_has_no_cause_and_files_say_all(tmp_path, right):
    data, published = right
    found = calibration(tmp_path, CLIP, data, published | {"clean": 0.3})
    assert [(finding.cause, finding.conditions) for finding in found.findings] == [("", ("clean",))]
    assert any("none of" in line and "changes lands on the published figure" in line for line in lines(found))
    found.not_run.append("<script>")
    raw, page = (file.read_text() for file in write(found, tmp_path / "out"))
    table = json.loads(raw)
    assert (table["schema"], table["findings"][0]["cause"]) == (1, "")
    assert len(table["tried"]) > 10
    assert "1 of 2 figures differ from the published ones" in page
    assert "<script>" not in page


def test_images_are_embedded_once_where_texts_or_labels_change(tmp_path, right, monkeypatch):
    spec, classes = parse(CLIP), class_list("mini")
    bench = Bench(session_of(tmp_path, spec, right[0]), spec)
    before = bench.outcomes(bench.start, CLEAN)
    seen, embed = [], ZeroShot.embed
    monkeypatch.setattr(ZeroShot, "embed", lambda net, images: seen.append(len(images)) or embed(net, images))
    one = replace(spec, options=replace(spec.options, prompts="as-is"))
    texts = bench.outcomes(Setup(one, classes), CLEAN)
    labels = bench.outcomes(replace(bench.start, labels=lambda images: images), CLEAN)
    assert texts.correct.mean() < before.correct.mean() == labels.correct.mean()
    assert sum(n for n in seen if n > 2) == 0  # a model that is loaded is tried with two
    bench.outcomes(replace(bench.start, mean=(0.5, 0.5, 0.5)), CLEAN)
    assert sum(seen) >= len(before.ids)


def test_the_command_names_what_is_known(tmp_path, capsys):
    assert command.main("calibrate", ["--list"]) == 0
    assert "robustbench:Salman2020Do_R50: 2 figures (autoattack-4/255, clean)" in capsys.readouterr().out
    options = ["--samples", "24", "--model", "mini:supervised", "--out", str(tmp_path / "out" / "calibration")]
    assert command.main("calibrate", options) == 5
    out = capsys.readouterr().out
    assert "mini:supervised: no known checkpoint; its weights have the fingerprint" in out
    assert "Nothing was compared" in out


def test_without_a_model_the_command_says_what_to_do(toml, monkeypatch, capsys):
    monkeypatch.setattr(command, "cached", lambda figures: [])
    suite = toml('classes = "mini"\n[data]\nimagenet = "mini:imagenet"\n[conditions]\n')
    assert main(["calibrate", "--suite", suite]) == 4
    assert "give --model open_clip:ViT-B-32/openai" in capsys.readouterr().err


def test_models_out_of_the_caches_are_the_smallest(tmp_path, monkeypatch):
    from clip_robustness.calibration import cached, figures

    files = {"open_clip:ViT-L-14/openai": 9, "open_clip:ViT-B-32/openai": 3, "torchvision:alexnet/IMAGENET1K_V1": 5}
    for i, (_, size) in enumerate(files.items()):
        (tmp_path / str(i)).write_bytes(b"x" * size)
    found = [(model, tmp_path / str(i)) for i, model in enumerate(files)]
    monkeypatch.setattr(cached, "_files", lambda figures: iter(found))
    assert cached.cached(figures.published()) == [
        "open_clip:ViT-B-32/openai", "torchvision:alexnet/IMAGENET1K_V1", "open_clip:ViT-L-14/openai"
    ]  # fmt: skip
