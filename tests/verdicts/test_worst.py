"""A worst case as a cell of its own: figures, limits and verdict of what its members leave standing."""

from dataclasses import replace

import numpy as np
import pytest

from clip_robustness import evaluate
from clip_robustness.errors import InputError
from clip_robustness.evaluation.needs import needs
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.results.guards import of_cells, unknown_attacks
from clip_robustness.verdicts.measure import measure
from tests.evaluation.test_session import session_of

SUITE = """
candidate = ["python:tests.verdicts.test_guards:sound"]
supervised = ["python:tests.verdicts.test_guards:sound"]
classes = "mini"
samples = 48
[data]
imagenet = "mini:imagenet"
[conditions]
attacks = [{{ names = ["fgsm", "mim", "transfer-fgsm"], eps = ["0.2/255", "1/255"] }}]
worst-of = {members}
[[rules]]
match = "adversarial/*"
max_drop_vs_supervised = 0.05
min_accuracy = {least}
"""


@pytest.fixture
def worst(tmp_path):
    def made(members, least=0.1):
        session = session_of(tmp_path, SUITE.format(members=members, least=least), 48)
        (spec,) = session.settings.candidates
        return session, [Cell(spec, condition) for condition in session.settings.suite.conditions if condition.members]

    return made


def test_it_is_judged_on_the_images_that_are_right_under_all(worst):
    session, cells = worst('["fgsm", "mim"]')
    assert [cell.id.rpartition("worst-of-")[2] for cell in cells] == ["fgsm+mim-0.2/255", "fgsm+mim-1/255"]
    rows = [measure(session, cell, "test")[0] for cell in cells]
    for cell, row in zip(cells, rows, strict=True):
        right = [session.outcomes(cell.candidate, member).correct for member in cell.condition.members]
        both = accuracy(right[0] & right[1])
        assert row.n == 48
        assert (row.accuracy, *row.ci95) == (both.value, both.low, both.high)
        assert (row.params["members"], row.supervised.accuracy) == ("fgsm+mim", row.accuracy)
        assert row.difference.value == 0
        assert {check.limit for check in row.checks} == {"min_accuracy", "max_drop_vs_supervised"}
        assert session.correct(cell).condition == cell.condition.path
    guards = {guard.name for guard in of_cells(rows)}
    assert "accuracy under worst-of falls with eps" in guards
    assert f"gradients of {rows[0].label} are neither zero nor infinite" in guards
    assert not unknown_attacks(rows)


def test_its_limits_are_held_against_it(worst):
    session, (_, cell) = worst('["fgsm", "mim"]', least=0.99)
    row = measure(session, cell, "test")[0]
    assert (row.verdict, [check.status for check in row.checks]) == ("fail", ["fail", "inconclusive"])


def test_a_member_that_is_an_error_makes_it_one(worst):
    """There is no surrogate to craft on."""
    session, (cell, _) = worst('["fgsm", "transfer-fgsm"]')
    session.settings = replace(session.settings, surrogate=None)
    with pytest.raises(InputError, match=r"^worst-of-fgsm.transfer-fgsm-0.2/255: its member transfer-fgsm-0.2/255 is"):
        measure(session, cell, "test")


def test_it_needs_its_members_and_reads_them(worst):
    session, (cell,) = worst('["fgsm-*", "mim-1/255"]')
    needed = needs(session.settings, [cell])
    assert {condition.id for condition in needed} == {"fgsm-0.2/255", "fgsm-1/255", "mim-1/255", "clean"}


def test_from_python(worst):
    session, (cell, _) = worst('["fgsm", "mim"]')
    model, images = session.classifier(cell.candidate), session.images(cell.condition)
    found = evaluate(model, "worst-of-fgsm+mim-0.2/255", images)
    assert np.array_equal(found.correct, session.outcomes(cell.candidate, cell.condition).correct)
