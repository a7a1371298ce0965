"""Where checkpoints fell first: found where they did, and called where nothing fell no more often than it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_robustness.errors import InputError
from clip_robustness.reports import history as view
from clip_robustness.reports.command import main
from clip_robustness.results import history
from clip_robustness.results.history import CorrectImages, Run
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results
from clip_robustness.results.trajectory import ALPHA, series_of

N = 400
EVIL = "<script>alert(1)</script>"


def a_run(number, models="m", environment=(), about=(), **right):
    """Of conditions by name: bool (n,)."""
    cells, images = [], {}
    for model in models.split():
        for name, correct in right.items():
            n, count = len(correct), int(correct.sum())
            share, ends = count / n, (max(0, count / n - 0.05), min(1, count / n + 0.05))
            found = Result("natural", name, {}, model, "candidate", "pass", "", n=n, correct=count)
            cells.append(replace(found, accuracy=share, ci95=ends))
            path, ids = f"natural/{name}", tuple(f"{i}.png" for i in range(n))
            images[model, path] = CorrectImages(model, path, ids, correct, (1,) * n, code={"condition": "1"})
    about = {"role": "candidate"} | dict(about)
    described = [{"model": model, "spec": f"open_clip:{model}"} | about for model in models.split()]
    results = Results("s", {"seed": 0, "classes": "mini"} | dict(environment), described, cells)
    return Run(f"epoch{number}", f"2026-01-{number + 1:02}", Path(f"{number}"), results, images, held=True)


def right(share, seed=0, n=N):
    return np.random.default_rng(seed).permutation(np.arange(n) < share * n)


def flipped(correct, lost, won=0):
    """The same with so many images broken and fixed."""
    new = correct.copy()
    new[np.flatnonzero(correct)[:lost]] = False
    new[np.flatnonzero(~correct)[:won]] = True
    return new


def test_a_step_is_found_in_the_run_where_it_is_and_nowhere_else():
    good, other = right(0.9), right(0.7, 1)
    bad = flipped(good, 40, 2)
    runs = [a_run(at, r=good if at < 2 else bad, v2=flipped(other, at, at)) for at in range(4)]
    (series,) = series_of(runs)
    assert {key[1]: (fall.at, fall.against) for key, fall in series.falls.items()} == {"r": (2, 1)}
    fall = series.falls["natural", "r"]
    assert fall.difference.value == pytest.approx(-38 / N)
    assert fall.n == N


def test_a_slide_of_small_steps_is_found_against_the_first_run():
    good = right(0.9)
    (series,) = series_of([a_run(at, r=flipped(good, 3 * at)) for at in range(6)])
    fall = series.falls["natural", "r"]
    assert fall.against == 0 < 2 < fall.at


def test_where_nothing_fell_a_fall_is_called_no_more_often_than_it_says():
    """Checkpoints that differ in a tenth of the images and are as good as each other, 300 histories."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(300):
        chance = {name: rng.choice([0.05, 0.5, 0.95], 80) for name in ("a", "b")}
        runs = [a_run(at, **{name: rng.random(80) < p for name, p in chance.items()}) for at in range(4)]
        (series,) = series_of(runs)
        called += bool(series.falls)
    assert called / 300 <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / 300) ** 0.5


def test_runs_that_differ_in_what_counts_are_not_compared_and_say_so():
    good, bad = right(0.9), right(0.3)
    (series,) = series_of([a_run(0, r=good), a_run(1, environment={"seed": 1}, r=bad)])
    assert series.falls == {}
    assert series.not_compared == {"'epoch0' and 'epoch1' have seed 0 and 1": [("natural", "r")]}
    older = a_run(0, r=good)
    key = ("m", "natural/r")
    other = replace(older, right={key: replace(older.right[key], code={"condition": "0"})})
    (series,) = series_of([other, a_run(1, r=bad)])
    assert "different versions of the code" in next(iter(series.not_compared))
    clustered = a_run(1, r=bad)
    cells = [replace(cell, n_clusters=3) for cell in clustered.results.cells]
    (series,) = series_of([older, replace(clustered, results=replace(clustered.results, cells=cells))])
    assert series.falls == {}
    assert "images belong together" in next(iter(series.not_compared))


def test_what_changed_in_set_up_is_named():
    about = {"prompts": "plain", "weights": "b"}
    later = a_run(1, environment={"torch": "2.9", "command": "x"}, about=about, r=right(0.9))
    (series,) = series_of([a_run(0, r=right(0.9)), later])
    assert series.changes(1) == ["torch: not told -> 2.9", "model's prompts: not told -> plain"]


def test_several_candidates_a_run_are_a_series_each():
    runs = [a_run(at, "one two", r=right(0.9)) for at in range(2)]
    assert [(series.name, len(series.points)) for series in series_of(runs)] == [("one", 2), ("two", 2)]
    assert [len(series.points) for series in series_of(runs, "open_clip:one")] == [2]
    with pytest.raises(InputError, match="'timm' is the beginning of no candidate's name"):
        series_of(runs, "timm")


def test_the_page_shows_where_it_fell_and_is_inert():
    good = right(0.9)
    named = [replace(a_run(at, r=flipped(good, 40 * at), v2=good), name=f"{EVIL}{at}") for at in range(2)]
    text = view.page(series_of(named), "")
    assert "✕ 1 of 2 conditions fell" in text
    assert text.count('class="cross"') == 1
    assert text.index("natural</span></th>") < text.index("v2 <span")
    assert "<script" not in text
    assert "fell first: r in '" in "\n".join(view.lines(series_of(named)))


def test_the_command_takes_files_and_folders_and_writes_a_page(tmp_path, capsys):
    for number in range(2):
        run = a_run(number, clean=right(0.9))
        history.append(tmp_path / "runs", run.name, run.results, [history.packed(c) for c in run.right.values()])
    page = tmp_path / "out" / "history.html"
    assert main("history", [str(tmp_path / "runs"), "--html", str(page)]) == 0
    assert "no condition was shown to have fallen" in capsys.readouterr().out
    assert "No condition was shown to have fallen in 2 runs" in page.read_text()
    one, _ = history.files(tmp_path / "runs")
    assert main("history", [str(one)]) == 0
    assert capsys.readouterr().out.count("epoch") == 1
