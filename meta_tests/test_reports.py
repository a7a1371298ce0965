"""The views of the results: escaped, valid, complete."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from metrics.results import Baseline, Cell, Figure, Results, in_order, read
from reports import html, junit, markdown, table

EVIL = '<script>alert("x")</script> | & \x00'
PASSED = Cell(
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
NOT_RUN = Cell("natural", "imagenet-v2", {}, "mini:clip", "candidate", "not run", "no data")
FAILED = replace(PASSED, verdict="fail", condition="fgsm", model=EVIL, reason=EVIL, unreadable=(EVIL,))
WEAK = replace(PASSED, verdict="known weakness", params={"eps": "1/255"})
BASELINE = replace(PASSED, role="supervised", verdict="baseline", supervised=None, difference=None)
MODELS = [
    {"model": EVIL, "role": "candidate", "fingerprint": "0", "image_size": 64, "classes": 24, "device": "cpu"}
    | {"prompts": EVIL, "precision": "fp32", "warnings": [EVIL]}
]
RESULTS = Results(
    "mini", {"command": ["pytest", EVIL]}, MODELS, in_order([PASSED, VIDEO, NOT_RUN, FAILED, WEAK, BASELINE])
)


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
    eps = [replace(PASSED, params={"eps": e}) for e in ("16/255", "2/255", "8/255")]
    assert [c.params["eps"] for c in in_order(eps)] == ["2/255", "8/255", "16/255"]


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
    text = html.render(RESULTS)
    page = Page(text)
    assert "script" not in page.tags
    assert page.links == []
    assert "url(" not in text
    assert "&lt;script&gt;" in text


def test_the_page_says_what_failed_and_what_did_not_run():
    text = html.render(RESULTS)
    assert "The gate fails" in text
    assert "no data" in text
    assert "50.0" in text
    assert "[45.5, 54.5]" in text
    assert "The gate holds" in html.render(replace(RESULTS, cells=[PASSED]))


def test_junit_has_the_figures_as_properties():
    root = ET.fromstring(junit.render(RESULTS))
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
    }
    (case,) = [c for c in root.iter("testcase") if c.get("name") == "bim 8/255"]
    found = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert found["accuracy"] == "0.5"
    assert found["n"] == "480"
    assert found["verdict"] == "pass"
    assert found["difference_ci95_low"] == "0.2"


def test_markdown_tables_survive_hostile_names():
    text = markdown.render(RESULTS)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "<script>" not in text
    assert "1 fail" in text


def test_the_terminal_names_the_reason_of_what_is_not_a_pass():
    lines = list(table.lines(RESULTS.cells))
    assert any("no data" in line for line in lines)
    assert any(line.startswith("bim 8/255") and "50.0 [45.5, 54.5]" in line and "+25.0" in line for line in lines)


@pytest.mark.parametrize("view", [html.render, markdown.render, lambda r: "\n".join(table.lines(r.cells))])
def test_other_measures_and_warnings_about_the_data_are_shown_once(view):
    text = view(RESULTS).replace("&#39;", "'")
    assert "pm-0 75.0 [70.0, 80.0]; effective robustness +10.0 [+5.0, +15.0]" in text
    assert text.count("data set 'ytbb-robust': 7 anchors, 2169 were published") == 1
