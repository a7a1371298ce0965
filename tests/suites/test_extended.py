"""The shipped suite of what is beyond the benchmark."""

import re
import tomllib

import pytest

from clip_robustness import registry, suites
from clip_robustness.conditions.catalogue import NAMES, known_shifts
from clip_robustness.conditions.condition import corruption_sets
from clip_robustness.conditions.shifts import kinds_of
from clip_robustness.suites.schema import SuiteFile
from tests import ROOT

BEYOND = [found.name for found in registry.ours("shift") if any(kinds_of(found))]
"""The benchmark's bring no conditions."""
TEXT = (suites.FOLDER / "extended.toml").read_text()


def test_all_that_it_runs_is_drawn_and_beyond_the_benchmark():
    suite = suites.load("extended")
    assert all(place.startswith("mini:") for place in suite.settings.data.values())
    assert not any(c.kind.in_benchmark for c in suite.conditions if not c.kind.is_reference)


def test_what_has_no_counterpart_is_a_comment_of_it():
    """Each line that is commented out is read as it stands, and all together name everything."""
    uncommented = re.sub(r"(?m)^(\s*)# (?=[\w\[{\"])(?!What CLIPs|two cores)", r"\1", TEXT)
    for name in (*corruption_sets(), *BEYOND):
        assert f"\n{name} = " in uncommented, name
    named = {*re.findall(r'"([\w-]+)"', TEXT)}
    beyond = [
        n for n in known_shifts("natural") if n.startswith(("counteranimal-hard", "imagenet-d", "imagenet-hard", "pug"))
    ]
    assert named >= {*beyond, "scam", "scam-synth", "rta-100", *NAMES["text"]}
    assert named >= {"embedding", "template-heads", "universal-file", "patch", "watermark"}


PAGE = (ROOT / "docs" / "extended.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_shows_what_can_be_written(block):
    """Each block is a part of a suite that has a line for every set."""
    own = ("night", "products")
    data = dict.fromkeys(("imagenet", *own, *BEYOND), "somewhere")
    table = {"data": data, "conditions": {"natural": own}} | tomllib.loads(block)
    table["conditions"] = {"natural": own} | table["conditions"]
    assert list(SuiteFile.model_validate(table).conditions.expand())
