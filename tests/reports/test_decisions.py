"""What the page says of limits: the room to each, the sentence on a run, where a limit stands."""

from dataclasses import replace

import pytest

from clip_robustness.reports import figures, html
from clip_robustness.reports.decisions import accuracy_limit, decisions, told
from clip_robustness.reports.table import displayed
from clip_robustness.results.result import Baseline, Check, Figure, Result
from clip_robustness.results.results import Results

DROP = Check("max_drop_vs_supervised", -0.05, -0.12, (-0.15, -0.09), 1e-4, 1, "fail", "why", unit="points")
FLIPS = Check("max_flip_rate", 0.3, 0.1, (0.05, 0.15), 1, 1e-4, "pass", "", at_least=False, unit="points")
EPS = Check("min_median_eps", 2, 1.5, (1, 2.5), 0.2, 0.8, "inconclusive", "", more_images=90, unit="/255")
CELL = Result("natural", "imagenet-v2", {}, "m", "candidate", "fail", "why", n=100, accuracy=0.5, ci95=(0.4, 0.6),
              supervised=Baseline("b", 0.62, (0.5, 0.7)), difference=Figure(-0.12, (-0.15, -0.09)), limits=1,
              checks=(DROP,))  # fmt: skip
PASSED = replace(CELL, condition="imagenet-p", verdict="pass", checks=(FLIPS,))
OPEN = replace(CELL, condition="bim", verdict="inconclusive", checks=(EPS,))
NOT_RUN = Result("natural", "imagenet-a", {}, "m", "candidate", "not run", "no data", limits=1)
WEAK = replace(CELL, condition="fgsm", verdict="known weakness", limits=0, checks=(replace(DROP, weak=True),))


def run(*cells):
    return Results("s", {}, [], list(cells))


def test_the_room_is_what_is_left_to_the_limit_in_its_own_unit():
    broken, unsure, left, weak, kept = decisions([PASSED, OPEN, CELL, NOT_RUN, WEAK])
    assert (broken.verdict, broken.limit, broken.figure, broken.margin) == (
        "fail", "≥ -5.0", "-12.0 [-15.0, -9.0]", "-7.0",
    )  # fmt: skip
    assert (kept.limit, kept.figure, kept.margin) == ("≤ 30.0", "10.0 [5.0, 15.0]", "+20.0")
    assert kept.room == pytest.approx((20, 15, 25)), "right of the limit is kept, whichever way it goes"
    assert (unsure.limit, unsure.figure, unsure.margin, unsure.room) == ("≥ 2/255", "1.5 [1, 2.5]", "-0.5/255", None)
    assert (left.verdict, left.figure) == ("not run", "")
    assert weak.verdict == "known weakness"


def test_the_sentence_is_made_for_the_run():
    assert told(run(PASSED)) == "The one limit was shown to hold."
    assert told(run(CELL, OPEN, PASSED, NOT_RUN)) == (
        "1 limit was shown to be broken, worst imagenet-v2 by 7.0 points; 1 limit is open, on too few images to tell "
        "(the nearest needs about 90 more); 1 cell was not run; 1 limit was shown to hold."
    )
    assert "weakness" not in told(run(CELL, OPEN))
    assert told(run(PASSED, WEAK)).endswith("1 cell is a known weakness that the suite declares.")


def test_the_accuracy_that_is_needed_is_that_of_the_strictest_limit():
    assert accuracy_limit(CELL) == pytest.approx(0.57)
    least = Check("min_accuracy", 0.6, 0.5, (0.4, 0.6), 0.1, 0.9, "inconclusive", "", unit="points")
    assert accuracy_limit(replace(CELL, checks=(DROP, least))) == 0.6
    assert accuracy_limit(PASSED) is None


def test_differences_of_all_families_and_models_share_a_scale():
    small = replace(CELL, family="clean", condition="clean", difference=Figure(0.01, (0.0, 0.02)), checks=())
    other = replace(small, model="n", difference=Figure(0.4, (0.3, 0.5)))
    (plot,) = [plot for plot in figures.plots(run(small, CELL, other)) if plot.key == "differences"]
    ticks = [[text for text in ("0", "20", "40") if f">{text}<" in panel.svg] for panel in plot.panels]
    assert ticks == 3 * [["0", "20", "40"]]


def test_no_column_is_empty():
    page = html.render(run(replace(PASSED, supervised=None, difference=None)))
    assert ">Supervised</th>" not in page
    assert ">Also</th>" not in page
    assert ">Supervised</th>" in html.render(run(PASSED))


def test_models_are_called_by_the_files_of_their_weights_where_these_differ():
    def called(*names):
        return [cell.model for cell in displayed(run(*(replace(CELL, model=name) for name in names))).cells]

    assert called("open_clip:ViT-B-32@/a/b/last.pt?prompts=plain") == ["open_clip:ViT-B-32@last.pt?prompts=plain"]
    assert called("timm:x@/a/1.pt", "timm:x@/b/1.pt") == ["timm:x@/a/1.pt", "timm:x@/b/1.pt"]
    assert called("hf:org/name") == ["hf:org/name"]
