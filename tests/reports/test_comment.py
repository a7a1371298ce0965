"""The comment for a pull request: what changed since the base, inert, under 60 kB."""

from dataclasses import replace

from clip_robustness.reports import comment
from clip_robustness.results.result import Figure, Regression, Result
from clip_robustness.results.results import Results

CELL = Result(
    "natural", "imagenet-v2", {}, "m", "candidate", "pass", "", n=100, accuracy=0.5, ci95=(0.4, 0.6), limits=1
)
FAILED = replace(CELL, verdict="fail", reason="too low")


def run(*cells):
    return Results("s", {}, [], list(cells))


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def test_what_changed_is_said_and_what_did_not_is_not():
    same, new = replace(CELL, condition="imagenet-r"), replace(CELL, condition="imagenet-a")
    gone = replace(CELL, condition="objectnet")
    text = comment.render(run(FAILED, same, new), run(CELL, same, gone))
    assert "### ❌ The gate fails in 1 of 3 cells" in text
    assert "- **fail** m, imagenet-v2: too low" in text
    assert [row.split(" | ")[1:4] for row in rows(text)] == [
        ["imagenet-v2", "m", "pass → fail"],
        ["imagenet-a", "m", "new → pass"],
        ["objectnet", "m", "pass → gone"],
    ]
    assert "50.0 → 50.0 [40.0, 60.0] (n 100)" in rows(text)[0]


def test_a_shown_difference_is_a_change_without_another_verdict():
    found = Regression("r", "m", "", 100, 0.6, Figure(-0.1, (-0.15, -0.05)))
    (row,) = rows(comment.render(run(replace(CELL, regression=found)), run(CELL)))
    assert "-10.0 [-15.0, -5.0]" in row
    open_still = replace(found, difference=Figure(-0.01, (-0.05, 0.03)))
    text = comment.render(run(replace(CELL, regression=open_still)), run(CELL))
    assert "No verdict changed since the base branch." in text


def test_checkpoints_that_are_called_by_their_files_are_compared():
    text = comment.render(run(replace(FAILED, model="x@2.pt")), run(replace(CELL, model="x@1.pt")))
    assert len(rows(text)) == 1
    assert "pass → fail" in text
    two = run(replace(CELL, model="a"), replace(CELL, model="b"))
    assert len(rows(comment.render(run(replace(CELL, model="c")), two))) == 3


def test_without_a_base_nothing_is_said_of_one():
    assert "since" not in comment.render(run(CELL))


def test_it_is_inert_and_under_60_kb():
    evil = "<script>|\n::x [a](https://b) `c`"
    before = [replace(CELL, condition=f"{i}{evil}") for i in range(2000)]
    text = comment.render(run(*(replace(c, verdict="fail", reason=evil * 40) for c in before)), run(*before))
    assert len(text.encode()) < 60_000
    assert "more are left out here" in text
    assert "<script" not in text
    assert "](http" not in text
