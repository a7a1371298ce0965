"""docs/results-format.md and its schema, against the code and against the file of a run."""

import json
import re
from dataclasses import fields

import jsonschema
import pytest

from clip_robustness.mini.data import mini_folder
from clip_robustness.results import result, results
from clip_robustness.results.schema import json_schema
from tests import ROOT
from tests.conftest import write_overlap

PAGE = (ROOT / "docs" / "results-format.md").read_text()
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
imagenet-vid-robust = "mini:imagenet-vid-robust"
cue-conflict = "mini:cue-conflict"
[conditions]
natural = ["imagenet-v2", "imagenet-vid-robust"]
stylized = { names = ["cue-conflict"] }
imagenet-p = { perturbations = ["translate"], samples = 4 }
attacks = [{ names = ["bim"], eps = ["1/255", "min"], samples = 4 }, { names = ["typographic"], samples = 4 },
           { names = ["nes"], eps = ["8/255"], samples = 4, pairs = 1 }]
overlap = "overlap.json"
[[rules]]
match = "*"
max_drop_vs_supervised = 0.05
"""


def named(heading):
    """What the first column of the table under a heading names."""
    table = PAGE.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return re.findall(r"`(.+?)`", " ".join(first))


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("## A result, an entry of `cells`", result.Result),
        ("### A check, an entry of `checks`", result.Check),
        ("### A regression", result.Regression),
        ("## A summary, an entry of `summaries`", results.Summary),
        ("## A guard, an entry of `guards`", results.Guard),
        ("## A claim, an entry of `claims`", results.Claim),
        ("## A comparison, an entry of `calibration`", results.Comparison),
    ],
)
def test_the_page_names_the_fields(heading, kind):
    assert sorted(named(heading)) == sorted(field.name for field in fields(kind))


def test_the_page_names_what_the_file_has_and_its_version():
    assert named("## The file") == ["schema", *(field.name for field in fields(results.Results))]
    assert re.findall(r"`schema`(?: is| \|) (\d+)", PAGE) == 2 * [str(results.SCHEMA)]


def test_the_schema_in_the_documentation_is_that_of_the_code():
    assert json.loads((ROOT / "docs" / "results.schema.json").read_text()) == json_schema(), (
        "python -m clip_robustness.results.schema > docs/results.schema.json"
    )


def test_the_file_of_a_run_is_as_the_page_says(suite_run, toml, tmp_path):
    of = mini_folder("imagenet-v2")
    some = [str(image.relative_to(of)) for image in sorted(of.rglob("*.png"))[::4]]
    write_overlap(tmp_path / "overlap.json", {"imagenet": (), "imagenet-v2": some, "imagenet-vid-robust": ()})
    run = suite_run(f"--suite={toml(SUITE)}", "--gallery=0")
    found = json.loads((run.report_dir / "results.json").read_text())
    jsonschema.validate(found, json_schema())
    with pytest.raises(jsonschema.ValidationError, match="was expected"):
        jsonschema.validate(found | {"schema": 0}, json_schema())

    metrics = {re.sub("_ci95_(low|high)$", "", name) for cell in found["cells"] for name in cell["metrics"]}
    assert {"pm0", "median_eps", "flip_probability", "shape_bias", "queries", "overlap_rate"} <= metrics
    assert sorted(metrics - set(named("### Metrics"))) == []
    described = PAGE.split("## Environment and models", 1)[1]
    said = set(re.findall(r"`(.+?)`", described))
    assert sorted((found["environment"].keys() | found["models"][0].keys()) - said) == []


def test_what_is_no_results_json_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"a folder; give the results.json in it"):
        results.read(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not a results.json of this suite: it has no 'schema'"):
        results.read(tmp_path / "other.json")


@pytest.mark.parametrize(
    "figures", [{"accuracy": float("nan")}, {"accuracy": 61.5}, {"accuracy": 0.5, "ci95": (-0.1, 0.6)}]
)
def test_an_accuracy_that_can_not_be_is_told(tmp_path, figures):
    """As percent, or as NaN, it would be shown and compared without a word."""
    cell = result.Result("clean", "clean", {}, "mini:clip", "candidate", "pass", "", **figures)
    (tmp_path / "results.json").write_text(results.Results("mini", {}, [], [cell]).to_json())
    with pytest.raises(ValueError, match=r"results\.json: .*clean of mini:clip has an accuracy or an interval outside"):
        results.read(tmp_path / "results.json")
