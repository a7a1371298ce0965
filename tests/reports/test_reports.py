"""The views of the results: escaped, valid, complete."""

import csv as stdlib_csv
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product

import pytest
import xmlschema

from clip_robustness import registry
from clip_robustness.conditions.benchmark import CORRUPTIONS
from clip_robustness.evaluation.progress import Progress
from clip_robustness.reports import comment, csv, figures, html, junit, markdown, site, table, terminal
from clip_robustness.reports.command import render
from clip_robustness.results import gallery
from clip_robustness.results.gallery import Example
from clip_robustness.results.headline import headline
from clip_robustness.results.result import Baseline, Check, Confusion, Figure, Regression, Result, in_order
from clip_robustness.results.results import Results, from_json, read
from tests import DATA, ROOT

EVIL = '<script>alert("x")</script> | & \x00'
PASSED = Result(
    family="adversarial",
    condition="bim",
    params={"eps": "8/255"},
    model="mini:clip",
    role="candidate",
    verdict="pass",
    reason="difference is fine",
    n=480,
    correct=240,
    accuracy=0.5,
    ci95=(0.455, 0.545),
    supervised=Baseline("mini:supervised", 0.25, (0.21, 0.29)),
    difference=Figure(0.25, (0.2, 0.3)),
    limits=1,
)
VIDEO = replace(
    PASSED,
    family="natural",
    condition="ytbb-robust",
    params={},
    metrics={"pm0": 0.75, "pm0_ci95_low": 0.7, "pm0_ci95_high": 0.8}
    | {"effective_robustness": 0.1, "effective_robustness_ci95_low": 0.05, "effective_robustness_ci95_high": 0.15},
    warnings=("data set 'ytbb-robust': 7 anchors, 2169 were published", EVIL),
)
NOT_RUN = Result("natural", "imagenet-v2", {}, "mini:clip", "candidate", "not run", "no data")
FAILED = replace(PASSED, verdict="fail", condition="fgsm", model=EVIL, reason=EVIL, unreadable=(EVIL,))
WEAK = replace(PASSED, verdict="known weakness", params={"eps": "1/255"}, limits=0)
BASELINE = replace(PASSED, role="supervised", verdict="baseline", supervised=None, difference=None)
MODELS = [
    {"model": EVIL, "role": "candidate", "fingerprint": "0", "image_size": 64, "classes": 24, "device": "cpu"}
    | {"prompts": EVIL, "precision": "fp32", "warnings": [EVIL], "mean": [0.48145466, 0.5, 0.0], "std": [1.0, 1.0, 1.0]}
    | {"interpolation": "bicubic", "crop": "squashed"}
]
RESULTS = Results(
    "mini", {"command": ["pytest", EVIL]}, MODELS, in_order([PASSED, VIDEO, NOT_RUN, FAILED, WEAK, BASELINE])
)


JPEG = "data:image/jpeg;base64,/9j/4AAQSkZJRg=="
PICTURE = Example(EVIL, EVIL, "cup", EVIL, "", JPEG, JPEG, JPEG)


def everything():
    """Cells that there is a figure of each kind for, of a candidate and a baseline with names to be careful with."""
    candidate, baseline = replace(PASSED, model=EVIL), replace(BASELINE, model="$x_1$ & <b>")
    both = []
    for cell in (candidate, baseline):
        flips = {"flip_probability": 0.2, "flip_probability_ci95_low": 0.1, "flip_probability_ci95_high": 0.3}
        both += [
            replace(cell, family="clean", condition="clean", params={}, accuracy=0.9),
            *(replace(cell, params={"eps": f"{e}/255"}, accuracy=0.9 - 0.1 * e) for e in (0.5, 1, 2, 4)),
            replace(cell, params={"eps": "min"}, smallest_eps=(0.0, *(0.1 * i for i in range(1, 20)), 510.0)),
            replace(cell, family="natural", condition="imagenet-r", params={}, metrics=VIDEO.metrics),
            replace(cell, family="clean", condition="clean-imagenet-r-classes", params={}),
            *(
                replace(cell, family="synthetic", condition="imagenet-c", params={"corruption": c, "severity": s})
                for c, s in product(("fog", "frost"), (1, 2, 3, 4, 5))
            ),
            replace(
                cell,
                family="synthetic",
                condition="imagenet-p",
                params={"perturbation": "tilt", "difficulty": 1},
                metrics=flips,
            ),
            replace(
                cell,
                condition="typographic",
                params={},
                metrics={"reads_the_word": 0.2},
                confusions=(Confusion(EVIL, "cup", 3),),
            ),
            replace(cell, family="overlap", condition="imagenet-v2", params={}),
        ]
    both[0] = replace(
        both[0], gallery="key", regression=Regression("r", "m", "", 9, 0.8, Figure(0.1, (0, 0.2)), (), (EVIL,))
    )
    return replace(RESULTS, cells=in_order([*both, FAILED, NOT_RUN]), partial="Interrupted.")


def test_json_round_trip(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(RESULTS.to_json())
    assert read(file) == RESULTS


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99}', '{"schema": 1}'])
def test_a_file_that_is_no_results_is_named(tmp_path, content):
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="not a results"):
        read(file)


def test_order_depends_on_the_cells_alone():
    cells = list(RESULTS.cells)
    assert in_order(reversed(cells)) == cells
    eps = [replace(PASSED, params={"eps": e}) for e in ("16/255", "2/255", "0.5/255", "8/255")]
    assert [c.params["eps"] for c in in_order(eps)] == ["0.5/255", "2/255", "8/255", "16/255"]


def test_a_baseline_measured_for_two_candidates_stands_once():
    assert in_order([BASELINE, BASELINE]) == [BASELINE]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_is_self_contained_and_hostile_names_are_inert():
    text = html.render(everything(), {"key": [PICTURE]})
    page = Page(text)
    assert page.tags.count("script") == 1
    assert set(page.tags) & {"iframe", "object", "embed", "base"} == set()
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    assert "&lt;script&gt;" in text


def test_each_figure_is_drawn_from_its_cells():
    plots = {plot.key: plot for plot in figures.plots(everything())}
    assert set(plots) == {key for key, *_ in figures._FIGURES}
    assert "quartiles 0.5, 1, 1.5" in plots["smallest"].panels[0].alt
    assert "fog 1 50.0" in plots["corruptions"].panels[0].alt
    assert " 85.0 at 0.5/255, 80.0 at 1/255" in plots["security"].panels[0].alt
    for plot in plots.values():
        assert plot.panels
        for panel in plot.panels:
            assert "#0101" not in panel.svg  # all colours are the page's
            assert "<script>alert" not in panel.svg
            ET.fromstring(panel.svg)


def test_ids_in_figures_are_unique_in_the_page_and_lead_somewhere():
    text = html.render(everything())
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r"url\(#([^)]+)\)", text), *re.findall(r'href="#([^"]+)"', text)} <= set(ids)


def test_pictures_are_shown_with_what_was_predicted():
    text = html.render(everything(), {"key": [replace(PICTURE, after="a plate", label="a cup")]})
    assert "shows <strong>a cup</strong>, taken for <strong>a plate</strong>, when clean for cup" in text
    assert text.count(JPEG) == 3


def test_what_broke_and_what_was_fixed_is_shown_with_both_predictions():
    found = Regression("r", "m", "", 9, 0.8, Figure(0.0, (-0.1, 0.1)), ("good.png",), ("bad.png",), "changes")
    run = replace(RESULTS, cells=[replace(PASSED, regression=found)])
    pictures = [replace(PICTURE, image="bad.png", label="a cup", recorded="a cup", after="a plate"),
                replace(PICTURE, image="good.png", label="a cup", recorded="", after="a cup")]  # fmt: skip
    text = re.sub(r"<[^>]+>", "", html.render(run, {"changes": pictures}))
    assert gallery.CHANGED[:60] in text
    assert "broken, shows a cup, taken for a cup then, for a plate now" in text
    assert "fixed, shows a cup, taken for a cup now, for what then was not recorded" in text


def test_a_page_for_22_conditions_and_three_models_stays_under_3_mb():
    big = replace(PICTURE, **dict.fromkeys(("clean", "changed", "difference"), JPEG + 5000 * "A"))
    models = ("a", "b", "c")
    cells = [
        replace(PASSED, condition=f"attack{i}", model=model, gallery=f"{i} {model}")
        for i in range(22)
        for model in models
    ]
    pictures = gallery.within(gallery.BUDGET, {cell.gallery: [big] * 4 for cell in cells})
    assert set(pictures) == {cell.gallery for cell in cells}
    assert len(html.render(replace(RESULTS, cells=cells), pictures).encode()) < 3e6


def test_five_thousand_cells_of_fifty_models_stay_under_20_mb():
    kinds = list(product((*CORRUPTIONS, "more"), range(1, 6)))
    cells = [
        replace(PASSED, model=f"open_clip:ViT-B-32@run/epoch_{model}.pt", condition="imagenet-c", family="synthetic",
                params={"corruption": corruption, "severity": severity}, reason="inconclusive for a reason " * 4,
                verdict="inconclusive", allowed=True)
        for model in range(50) for corruption, severity in kinds
    ]  # fmt: skip
    assert len(cells) == 5000
    text = html.render(replace(RESULTS, cells=in_order(cells)))
    assert len(text.encode()) < 20e6
    assert len(markdown.render(replace(RESULTS, cells=cells)).encode()) < 60_000


def test_the_summary_stays_under_60_kb_and_says_what_it_leaves_out():
    failed = [replace(FAILED, params={"eps": f"{i}/255"}, reason="€" * 3000) for i in range(100)]
    passed = [replace(PASSED, params={"eps": f"{i}/1024"}) for i in range(1000)]
    text = markdown.render(replace(RESULTS, cells=[*failed, *passed]))
    assert len(text.encode()) < 60_000
    assert re.search(r"\d+ more reasons are left out here", text)
    (left,) = re.findall(r"(\d+) more rows are left out here", text)
    assert text.count("\n| ") - 2 + int(left) == 1100
    assert "left out" not in markdown.render(RESULTS)


def test_the_page_says_what_failed_and_what_did_not_run():
    text = html.render(RESULTS)
    assert "The gate fails" in text
    assert "no data" in text
    assert "50.0" in text
    assert "[45.5, 54.5]" in text


OPEN = replace(PASSED, verdict="inconclusive", allowed=True, condition="pgd", reason="may be on either side")
UNGATED = replace(PASSED, verdict="not gated", limits=0, condition="mim")
LIMIT = Check("min_accuracy", 0.4, 0.5, (0.455, 0.545), 1, 0, "pass", "accuracy is at least 0.4")
KEPT, BROKEN, UNSURE = LIMIT, replace(LIMIT, status="fail"), replace(LIMIT, status="inconclusive")


@pytest.mark.parametrize(
    ("cells", "state", "sentence"),
    [
        ([PASSED], "holds", "The gate holds: 1 of 1 limit shown to hold"),
        ([PASSED, UNGATED, WEAK], "holds", "The gate holds: 1 of 1 limit shown to hold"),
        ([replace(WEAK, limits=2)], "holds", "The gate holds: 2 of 2 limits shown to hold"),
        ([OPEN], "undecided", "The gate is undecided: 0 of 1 limit shown to hold"),
        ([PASSED, replace(OPEN, limits=2, checks=(KEPT, UNSURE))], "undecided", "The gate is undecided: 2 of 3 limits"),
        ([PASSED, replace(NOT_RUN, limits=2)], "undecided", "The gate is undecided: 1 of 3 limits shown to hold"),
        ([PASSED, replace(OPEN, family="overlap", checks=(KEPT,))], "undecided", "The gate is undecided: 1 of 2"),
        ([PASSED, NOT_RUN], "holds", "The gate holds: 1 of 1 limit shown to hold"),
        ([UNGATED], "undecided", "Nothing is gated: no rule has a limit"),
        ([UNGATED, WEAK], "undecided", "Nothing is gated: all limits are known weaknesses"),
        ([NOT_RUN], "undecided", "Nothing was measured in 1 cell"),
        ([PASSED, OPEN, FAILED], "fails", "The gate fails in 1 of 3 cells: 1 of 3 limits shown to hold"),
        ([PASSED, replace(OPEN, allowed=False)], "fails", "The gate fails in 1 of 2 cells: 1 of 2 limits"),
        ([replace(PASSED, verdict="improved", checks=(KEPT,))], "fails", "The gate fails in 1 of 1 cell: 1 of 1"),
        ([replace(PASSED, verdict="error", checks=(KEPT,))], "fails", "The gate fails in 1 of 1 cell: 0 of 1 limit"),
        ([replace(FAILED, allowed=True, limits=2, checks=(KEPT, BROKEN))], "fails",
         "The gate fails in 1 of 1 cell (report only: no test fails): 1 of 2 limits shown to hold"),
    ],
)  # fmt: skip
def test_the_gate_holds_only_where_every_limit_was_shown_to_be_kept(cells, state, sentence):
    head = headline(replace(RESULTS, cells=cells))
    assert head.state == state
    assert head.sentence.startswith(sentence)
    assert ("holds" in head.text) == (state == "holds")


def test_a_part_of_a_run_holds_as_a_part():
    assert "holds in this part of the run: 1 of 1" in headline(replace(RESULTS, cells=[PASSED], partial="-k")).text


def test_files_of_earlier_versions_tell_limits_by_their_checks():
    old = [replace(PASSED, limits=0, checks=(KEPT,)), replace(WEAK, limits=0, checks=(BROKEN,))]
    assert headline(replace(RESULTS, cells=old)).sentence == "The gate holds: 1 of 1 limit shown to hold"


@pytest.mark.parametrize(
    ("row", "sign", "colour", "emoji"),
    [
        (PASSED, "✓", "green", "✅"),
        (FAILED, "✕", "red", "❌"),
        (OPEN, "?", "yellow", "⚠️"),
        (UNGATED, "?", "yellow", "⚠️"),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_each_view_has_three_headlines_with_a_sign_and_a_colour_of_their_own(row, sign, colour, emoji, allowed):
    """Also where the gate only reports."""
    run = replace(RESULTS, cells=[replace(row, allowed=allowed or row.allowed)])
    head = headline(run)
    *_, ((text, markup),) = terminal.lines(run, -2)
    assert text == f"{sign} {head.text}"
    assert [name for name in ("green", "red", "yellow") if markup.get(name)] == [colour]
    assert f'<strong class="{head.state}">{sign} {head.sentence}</strong>' in html.render(run)
    assert f"## Robustness, suite mini: {emoji} {head.state}\n\n**{head.sentence}**" in markdown.render(run)
    (suite,) = ET.fromstring(junit.render(run))
    found = {p.get("name"): p.get("value") for p in suite.find("properties")}
    assert (found["gate"], found["gate_sentence"]) == (head.state, head.text)


def test_colours_of_the_headlines_are_defined_and_differ():
    css = (ROOT / "reports" / "report.css").read_text()
    colours = {
        name: re.search(rf"\.{name}\b[^{{}}]*{{ color: var\((--\w+)\)", css)[1]
        for name in ("holds", "fails", "undecided")
    }
    assert len(set(colours.values())) == 3
    assert all(css.count(f"{variable}:") == 3 for variable in colours.values()), "light, dark and printed"


def test_junit_passes_no_cell_that_was_not_shown_to_hold():
    run = replace(RESULTS, cells=[PASSED, OPEN, UNGATED, replace(FAILED, allowed=True)])
    cases = {
        case.get("name"): [child.tag for child in case] for case in ET.fromstring(junit.render(run)).iter("testcase")
    }
    assert cases == {
        "bim 8/255": ["properties"],
        **{name: ["properties", "skipped"] for name in ("pgd 8/255", "mim 8/255", "fgsm 8/255")},
    }


def test_what_makes_a_run_say_less_than_it_seems_to_is_said_in_every_view():
    run = replace(RESULTS, warnings=["nothing to compare with", EVIL])
    assert [line for line in written(run, -2) if "nothing to compare" in line] == ["warning: nothing to compare with"]
    for view in (html.render, markdown.render, junit.render):
        assert "nothing to compare with" in view(run)
        assert "<script>alert" not in view(run)
    both = html.together([("a", run), ("b", RESULTS)])
    assert both.warnings == ["a: nothing to compare with", f"a: {EVIL}"]


def test_nothing_was_measured_is_said():
    assert "Nothing was measured" in html.render(replace(RESULTS, cells=[NOT_RUN]))


def test_what_a_later_version_adds_is_shown_or_left_alone():
    """A family, a metric, a verdict, and fields that are unknown here."""
    raw = json.loads(RESULTS.to_json())
    raw["invented"] = 1
    raw["cells"][0] |= {"invented": [1], "family": "dreams", "verdict": "doubtful", "metrics": {"new_thing": 0.5}}
    raw["cells"][0]["checks"] = []
    del raw["cells"][1]["confusions"]
    results = from_json(raw)
    assert in_order(results.cells)[-1].family == "dreams"
    text = html.render(results)
    for shown in ("dreams", "doubtful", "new thing 0.50"):
        assert shown in text
    assert "doubtful" in "".join(piece for line in terminal.lines(results) for piece, _ in line)
    junit.render(results), markdown.render(results), csv.render(results.cells)


def test_junit_has_the_figures_as_properties():
    root = ET.fromstring(junit.render(RESULTS))
    counted = {"tests": "5", "failures": "1", "errors": "0"}
    assert {k: root.get(k) for k in counted} == counted
    assert sum(int(suite.get("skipped")) for suite in root) == 2
    (case,) = [c for c in root.iter("testcase") if c.get("name") == "bim 8/255"]
    found = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert found["accuracy"] == "0.5"
    assert found["n"] == "480"
    assert found["verdict"] == "pass"
    assert found["difference_ci_low"] == "0.2"
    assert (found["ci_low"], found["ci_high"], found["eps"]) == ("0.455", "0.545", "8/255")
    assert found["baseline"] == "mini:supervised"


@pytest.mark.parametrize("results", [RESULTS, everything()], ids=["few", "all kinds"])
def test_junit_is_valid(results):
    schema = xmlschema.XMLSchema(DATA / "junit.xsd")
    schema.validate(ET.fromstring(junit.render(replace(results, environment={"started": "2026-01-31T12:00:00+00:00"}))))
    twice = junit.render(replace(results, cells=[PASSED, PASSED]))
    assert not schema.is_valid(ET.fromstring(twice)), "the schema knows a cell that stands there twice"


def test_the_failure_message_is_the_reason():
    (failure,) = ET.fromstring(junit.render(replace(RESULTS, cells=[replace(FAILED, reason="too low")]))).iter(
        "failure"
    )
    assert (failure.get("message"), failure.text, failure.get("type")) == ("too low", "too low", "fail")


def test_csv_has_a_row_a_cell_and_computes_nothing_in_a_spreadsheet():
    rows = list(stdlib_csv.DictReader(io.StringIO(csv.render([*RESULTS.cells, replace(FAILED, reason="=1+1")]))))
    assert len(rows) == len(RESULTS.cells) + 1
    assert {row["role"] for row in rows} == {"candidate", "supervised"}
    assert rows[-1]["reason"] == "'=1+1"
    odd = replace(PASSED, metrics={"=1+1": -0.5, "\uff1dx": 1.0}, params={"-x": "=1"}, model="@SUM(A1)")
    (row,) = stdlib_csv.DictReader(io.StringIO(csv.render([odd])))
    assert (row["'=1+1"], row["'\uff1dx"], row["params"], row["model"]) == ("-0.5", "1.0", "'-x==1", "'@SUM(A1)")
    by_condition = {row["condition"]: row for row in rows}
    assert by_condition["ytbb-robust"]["pm0"] == "0.75"
    assert by_condition["fgsm"]["difference_ci_low"] == "0.2"


def test_markdown_tables_survive_hostile_names():
    text = markdown.render(RESULTS)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "<script>" not in text
    assert "1 fail" in text


def test_a_summary_has_no_links_and_pictures_but_readable_intervals():
    hostile = "![x](https://evil.test/x.png) [a](b) [a][b] www.evil.test `c` $d$ **e** _f_ open_clip <img src=x>"
    text = markdown.render(replace(RESULTS, cells=[replace(FAILED, model=hostile, reason=hostile, verdict=hostile)]))
    assert "evil.test" in text
    assert not re.search(r"\]\(|\]\[|https?://|www\.evil|<img", text)
    assert not re.search(r"(?<!\\)[`$]", text.rpartition("The whole report")[0])
    assert "open_clip" in text
    assert "50.0 [45.5, 54.5]" in text


def written(results, verbosity=0):
    return ["".join(text for text, _ in line) for line in terminal.lines(results, verbosity)]


def test_the_terminal_names_the_reason_of_what_is_not_a_pass():
    lines = written(RESULTS)
    assert any("no data" in line for line in lines)
    assert any(line.startswith("  bim 8/255") and "50.0 [45.5, 54.5]" in line and "+25.0" in line for line in lines)


def test_no_name_and_no_reason_is_a_command_to_a_terminal_or_a_ci_job():
    hostile = "x\n::error::boo\r\x1b[2J\u2028##[add-mask]y"
    cells = [replace(FAILED, model=hostile, reason=end, warnings=(hostile,)) for end in (hostile, "::error::boo")]
    many = [replace(cell, condition=f"{i}{hostile}") for i, cell in enumerate(cells)]
    text = "\n".join(written(replace(RESULTS, cells=many, partial=hostile), 1))
    assert text.count("::error::boo") > 5
    assert not re.search(r"^\s*::", text, re.MULTILINE)
    assert not set("\r\x1b\u2028") & set(text)
    assert "##[" not in text


def test_quiet_shows_what_is_no_pass_and_verbose_every_measure():
    assert any("pm-0 75.0" in line for line in written(RESULTS, 1))
    assert any("  ytbb-robust" in line for line in written(RESULTS))
    assert not any("  ytbb-robust" in line for line in written(RESULTS, -1))
    assert any("  fgsm" in line for line in written(RESULTS, -1))
    assert any("  pgd" in line for line in written(replace(RESULTS, cells=[PASSED, OPEN]), -1)), "fails no test"
    assert len(written(RESULTS, -2)) == 1


def test_the_terminal_marks_verdicts_in_colour():
    marked = {text: markup for line in terminal.lines(RESULTS) for text, markup in line}
    assert marked["fail"]["red"]
    assert marked["pass"]["green"]


def test_progress_says_how_far_a_cell_is():
    so_far = Progress("mini:clip", "bim-8/255", done=100, total=400, right=40, computed=50, seconds=10.0)
    assert str(so_far) == "bim-8/255 mini:clip 100/400, 40.0% [30.3, 50.3], 5 images/s, 1 min 0 s left"


@pytest.mark.parametrize("view", [html.render, markdown.render, lambda r: "\n".join(written(r, 1))])
def test_other_measures_and_warnings_about_the_data_are_shown_once(view):
    text = view(RESULTS).replace("&#39;", "'")
    assert "pm-0 75.0 [70.0, 80.0]; effective robustness +10.0 [+5.0, +15.0]" in text
    assert text.count("data set 'ytbb-robust': 7 anchors, 2169 were published") == 1


@pytest.mark.parametrize("view", [html.render, markdown.render, lambda r: "\n".join(written(r, -1))])
def test_what_a_model_sees_and_what_to_know_of_it_is_said_once(view):
    """In the terminal pytest's head says it, which -q leaves out."""
    models = [MODELS[0] | {"model": "m", "prompts": "plain", "warnings": ["m: mean 0.5 is assumed"]}]
    text = view(replace(RESULTS, models=models))
    assert text.count("m: mean 0.5 is assumed") == 1
    if "warning: m" not in text:
        assert "m: fp32, 64 px, bicubic, squashed, mean 0.4815 0.5 0, std 1 1 1, prompts plain" in text
    assert "m: mean 0.5 is assumed" not in "\n".join(written(replace(RESULTS, models=models)))


def saved(folder, results=RESULTS):
    folder.mkdir()
    (folder / "results.json").write_text(results.to_json())
    return folder / "results.json"


def test_views_are_made_again_from_the_files(tmp_path):
    cells = [replace(PASSED, gallery="key"), BASELINE]
    file = saved(tmp_path / "run", replace(RESULTS, cells=cells))
    (tmp_path / "run" / "gallery.json").write_text(gallery.to_json({"key": [replace(PICTURE, after="a plate")]}))
    command = [sys.executable, "-m", "clip_robustness", "render", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.rpartition("/")[2] for line in done.stdout.split()} == {
        "report.html",
        "junit.xml",
        "summary.md",
        "cells.csv",
    }
    assert "taken for <strong>a plate" in (tmp_path / "run" / "report.html").read_text()


def test_several_runs_stand_side_by_side(tmp_path):
    before = saved(tmp_path / "epoch_1", replace(RESULTS, cells=[PASSED, BASELINE]))
    after = saved(tmp_path / "epoch_2", replace(RESULTS, cells=[replace(PASSED, accuracy=0.75), BASELINE]))
    render([before, after], tmp_path / "both")
    text = (tmp_path / "both" / "report.html").read_text()
    assert "mini:clip · epoch_1" in text
    assert "mini:clip · epoch_2" in text
    assert "All candidates" in text
    rows = list(stdlib_csv.DictReader(io.StringIO((tmp_path / "both" / "cells.csv").read_text())))
    assert [row["model"] for row in rows] == ["mini:clip · epoch_1", "mini:clip · epoch_2", "mini:clip"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("results.json", "{}", "not a results.json"),
        ("gallery.json", "[]", "not a gallery"),
        ("gallery.json", '{"key": [{"image": "x"}]}', "not a gallery"),
        ("gallery.json", gallery.to_json({"key": [replace(PICTURE, clean="javascript:alert(1)")]}), "no JPEG"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, says):
    file = saved(tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    command = [sys.executable, "-m", "clip_robustness", "render", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert says in done.stderr
    assert name in done.stderr


def test_the_budget_of_pictures_goes_round_the_cells():
    few = {key: [replace(PICTURE, image=str(i)) for i in range(3)] for key in "ab"}
    size = sum(len(value) for value in vars(few["a"][0]).values())
    assert {key: len(examples) for key, examples in gallery.within(3 * size, few).items()} == {"a": 2, "b": 1}


@pytest.mark.usefixtures("nothing_registered")
@pytest.mark.parametrize("data", ["imagenet-c-bar", "weather-c"])
def test_images_of_means_are_not_counted_twice(data):
    """Of a set of ours, and of a plugin's."""
    registry.shift("weather-c", corruptions=("rain",))(test_images_of_means_are_not_counted_twice)
    early = replace(PASSED, family="synthetic", condition=data, params={"severity": 1}, n=10, n_skipped=90)
    mean = replace(early, condition=f"{data}-mean", params={}, n_skipped=0)
    (said,) = table.spared([early, mean])
    assert "1 of 2 cells were settled early: 90 of 100 images were spared" in said


def test_one_of_a_thing_is_told_in_the_singular(tmp_path):
    """A run of one cell, that fails, in all views and in a leaderboard."""
    alone = replace(RESULTS, cells=[replace(FAILED, n_skipped=1, checks=(BROKEN,))], warnings=[])
    texts = [html.render(alone), markdown.render(alone), "\n".join(written(alone, 1)), comment.render(alone, None)]
    texts.append(site.write([(tmp_path / "results.json", alone)], tmp_path / "site").read_text())
    for text in texts:
        assert not re.search(r"(?<![\w.])1 (?:\w+ )?(?:cells|limits|conditions|images|models|runs|candidates)\b", text)
