"""The leaderboard: ranks that are stated and hold, ties, what is not comparable, and a site that is inert and whole."""

import json
import re
from dataclasses import replace

import pytest

from clip_robustness.errors import InputError
from clip_robustness.reports import site
from clip_robustness.reports.command import main
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

EVIL = "<script>alert(1)</script>"


def cells(model, *shares, role="candidate", width=0.02):
    """Of a clean condition and natural and adversarial ones."""
    of = (("clean", "clean"), ("natural", "imagenet-r"), ("natural", "imagenet-v2"), ("adversarial", "bim"))
    return [
        Result(family, name, {}, model, role, "pass", "", n=100, accuracy=share, ci95=(share - width, share + width))
        for (family, name), share in zip(of, shares, strict=False)
    ]


def run(*found, suite="s", **environment):
    return Results(suite, environment, [], [cell for part in found for cell in part])


def test_the_mean_is_of_families_and_leaves_clean_out():
    ((board),) = site.leaderboards([("a", run(cells("m", 0.9, 0.5, 0.7, 0.2)))])
    (entry,) = board.entries
    assert entry.score.value == pytest.approx((0.6 + 0.2) / 2)
    assert (entry.score.low, entry.score.high) == pytest.approx((0.38, 0.42))
    assert len(board.conditions) == 4


def test_models_that_are_not_told_apart_share_a_rank():
    base = cells("base", 0.9, 0.5, 0.5, 0.5, role="supervised")
    means = {"best": 0.8, "near": 0.77, "below": 0.74}
    best, near, below = (cells(name, 0.9, *3 * [share]) for name, share in means.items())
    (board,) = site.leaderboards([("a", run(best, base)), ("b", run(near)), ("c", run(below))])
    ranks = {entry.model: entry.rank for entry in board.entries}
    assert ranks == {"best": 1, "near": 1, "below": 2, "base": 4}


def test_only_what_is_comparable_stands_in_one_table():
    first, second = run(cells("a", 0.9, 0.8), seed=0), run(cells("b", 0.9, 0.8), seed=1)
    assert len(site.leaderboards([("a", first), ("b", second)])) == 2
    assert len(site.leaderboards([("a", first), ("b", replace(second, environment={"seed": 0}))])) == 1
    fewer = run(cells("a", 0.9, 0.8), cells("base", 0.9, role="supervised"))
    (board,) = site.leaderboards([("a", fewer)])
    assert [entry.model for entry in board.entries] == ["a"]
    assert board.left_out == ["base"]


def test_a_checkpoint_of_one_name_in_two_runs_stands_twice_and_a_baseline_once():
    base = cells("base", 0.9, 0.5, role="supervised")
    (board,) = site.leaderboards([("a", run(cells("m", 0.9, 0.8), base)), ("b", run(cells("m", 0.9, 0.6), base))])
    assert [entry.model for entry in board.entries] == ["m", "m", "base"]


def test_the_command_writes_a_site_whose_links_lead_somewhere(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        results = run(cells(f"{EVIL}{name}", 0.9, 0.8, 0.8, 0.8), suite=EVIL)
        (tmp_path / name / "results.json").write_text(results.to_json())
    out = tmp_path / "public"
    assert main("site", [str(tmp_path / "one"), str(tmp_path / "two" / "results.json"), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    text = (out / "index.html").read_text()
    assert site.RULE[:50] in text
    assert "<script" not in text
    links = [link for link in re.findall(r'href="([^"]+)"', text) if link != "data:,"]
    assert len(links) == 2 * 4 + 1
    assert all((out / link).is_file() for link in links)
    assert json.loads((out / "leaderboard.json").read_text())[0]["entries"][0]["rank"] == 1
    with pytest.raises(InputError, match="is given twice"):
        main("site", [str(tmp_path / "one"), str(tmp_path / "one"), "-o", str(out)])
