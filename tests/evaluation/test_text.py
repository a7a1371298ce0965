"""Text conditions on the drawn world: one pass of the images for all wordings."""

import pytest

from clip_robustness import suites
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.conditions.ids import condition_of
from clip_robustness.errors import NotRunError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.models.spec import parse
from clip_robustness.verdicts.measure import measure

SUITE = """
classes = "mini"
candidate = ["mini:clip"]
samples = 48
[data]
imagenet = "mini:imagenet"
[conditions]
text = [{ names = ["templates", "typos", "typos-search"] }, { names = ["names"], file = "other.tsv" }]
[[rules]]
match = "text/templates"
max_template_spread = 0.9
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "s.toml").write_text(SUITE)
    (folder / "other.tsv").write_text("".join(f"m{i:08d}\tthing {i}\n" for i in range(24)))
    suite = suites.load(str(folder / "s.toml"))
    spec = parse("mini:clip")
    return Session(Settings(suite, (spec,), (), None, 48, 0, "cpu", 16, folder / "reports" / "run", False))


def test_ids_are_read_back(session):
    texts = [c for c in session.settings.suite.conditions if c.kind.is_wording]
    assert [c.path for c in texts] == ["text/templates", "text/typos", "text/typos-search", "text/names-other"]
    assert [condition_of(c.id) for c in texts] == texts


def test_images_are_embedded_once_for_all_wordings(session, monkeypatch):
    (spec,) = session.settings.candidates
    net, passed = session.classifier(spec).net, []
    embed = net.embed
    monkeypatch.setattr(net, "embed", lambda images: passed.append(len(images)) or embed(images))
    clean = session.outcomes(spec, CLEAN)
    passed.clear()
    found = {c.name: session.outcomes(spec, c) for c in session.settings.suite.conditions if c.kind.is_wording}
    assert sum(n for n in passed if n > 1) == 48  # one at a time the memory that a pass takes is measured
    assert len(found["templates"].ids) == len(found["typos"].ids) == 24
    assert len(found["names"].ids) == 48
    assert found["names"].correct.mean() < 0.3 < clean.correct.mean()


def test_the_spread_is_a_figure_and_a_limit(session):
    (row,) = measure(session, Cell(session.settings.candidates[0], condition_of("templates")), "test", 1)
    assert row.n == 24
    assert row.metrics["template_spread_ci95_low"] <= row.metrics["template_spread"] <= 1
    assert [check.limit for check in row.checks] == ["max_template_spread"]
    assert any("of 80 wordings the worst is" in warning for warning in row.warnings)


def test_supervised_models_read_no_text(session):
    with pytest.raises(NotRunError, match="only a zero-shot model can be asked in other words"):
        session.asked(parse("mini:supervised"), condition_of("templates"))
