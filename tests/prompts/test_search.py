"""Learned prompts: the gradient is right, the search beats a plain template on other images and can be resumed."""

import json
from dataclasses import replace

import pytest
import torch

from clip_robustness.__main__ import main
from clip_robustness.datasets.classes import class_list
from clip_robustness.models.spec import parse
from clip_robustness.models.templates import TokenTemplate
from clip_robustness.models.zero_shot import load_clip
from clip_robustness.prompts.search import Budget, Found, Task, gradient_at, promising_tokens, search, weights_of

MINI = class_list("mini")
DATA = ["--model=mini:clip", "--classes=mini", "--data=mini:imagenet-sketch", "--images=240", "--held-out=240"]


@pytest.fixture(scope="module")
def task() -> Task:
    """Random unit vectors with random labels: the loss is a smooth function, whatever they are."""
    clip = load_clip(parse("mini:clip"), torch.device("cpu"))
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(64, 128), dim=1)
    return Task(clip.net, clip.tokenizer, MINI.names, features, torch.arange(64) % len(MINI))


@pytest.mark.parametrize("position", [0, 2, 3, 4])
def test_the_gradient_is_the_losss(task, position):
    """Against a difference quotient: the token's row of the embedding table moved a little either way."""
    template = TokenTemplate((1000, 2000, 3000), (4000, 5000))
    row = (*template.before, *template.after)[position]
    direction = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(1)), dim=0)
    expected = float(gradient_at(task, template, position) @ direction)
    table, step, losses = task.clip.token_embedding.weight, 1e-3, []
    for sign in (1, -1):
        table.data[row] += sign * step * direction
        losses.append(task.judge([template])[0].loss)
        table.data[row] -= sign * step * direction
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=0.02, abs=1e-3)


def test_promising_tokens_do_better_than_others(task):
    template = TokenTemplate((1000, 2000, 3000), (4000,))
    promising = promising_tokens(task, template, 1, 16)
    others = torch.randint(49406, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    losses = [
        [found.loss for found in task.judge([replace(template, before=(1000, token, 3000)) for token in tokens])]
        for tokens in (promising, others)
    ]
    assert min(losses[0]) < min(losses[1])
    assert not {49406, 49407, 2000} & set(promising)


def test_a_search_is_seeded_and_only_ever_gets_better(task):
    budget = Budget(before=2, after=1, sweeps=2, candidates=4)
    one, same, other = (search(task, budget, seed) for seed in (0, 0, 1))
    assert one == same
    assert one.template != other.template
    longer = search(task, replace(budget, sweeps=4), 0)
    assert longer.loss <= one.loss < search(task, replace(budget, sweeps=0), 0).loss


def test_prompts_found_often_weigh_more():
    a, b = TokenTemplate((1,)), TokenTemplate((2,))
    assert weights_of([Found(a, 0.1, 0.9), Found(b, 0.2, 0.6), Found(a, 0.1, 0.9)]) == {
        a: pytest.approx(0.75),
        b: pytest.approx(0.25),
    }


def test_the_command_learns_prompts_that_beat_a_plain_template(tmp_path, capsys):
    out = tmp_path / "learned.json"
    assert main(["prompts", "search", *DATA, f"--out={out}", "--restarts=2"]) == 0
    printed = capsys.readouterr().out
    assert f"use them as mini:clip?prompts={out}" in printed
    (line,) = [line for line in printed.splitlines() if "difference" in line]
    low = float(line.partition("[")[2].partition(",")[0])
    assert low > 5, printed


def test_a_search_goes_on_where_it_was(tmp_path, capsys):
    short = ["--before=2", "--after=0", "--sweeps=1", "--candidates=4"]
    files = tmp_path / "whole.json", tmp_path / "in-parts.json"
    assert main(["prompts", "search", *DATA, *short, f"--out={files[0]}", "--restarts=3"]) == 0
    for restarts in (1, 3):
        assert main(["prompts", "search", *DATA, *short, f"--out={files[1]}", f"--restarts={restarts}"]) == 0
    whole, parts = (json.loads(file.read_text()) for file in files)
    assert whole == parts
    assert len(whole["restarts"]) == 3
    assert main(["prompts", "search", *DATA, *short, f"--out={files[1]}", "--seed=1"]) == 4
    assert "made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model=mini:supervised"], "a CLIP is expected"),
        (["--data=/nowhere"], "there is no folder /nowhere"),
        (["--images=480"], "leaves none of the 480 images"),
        (["--classes=minni"], "did you mean 'mini'"),
    ],
)
def test_bad_options_are_named(tmp_path, capsys, arguments, says):
    assert main(["prompts", "search", *DATA, *arguments, f"--out={tmp_path / 'x.json'}"]) == 4
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_search_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    assert main(["prompts", "search", *DATA, f"--out={tmp_path / 'x.json'}"]) == 4
    assert "is no file of an earlier search" in capsys.readouterr().err
    assert (tmp_path / "x.json").read_text() == "{}"
