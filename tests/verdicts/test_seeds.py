"""A cell under several seeds: its figures, and what it is compared with."""

import numpy as np
import pytest

from clip_robustness.conditions.condition import corruption
from clip_robustness.conditions.seeds import over_seeds
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.verdicts.measure import measure
from tests.evaluation.test_session import session_of

SUITE = """
candidate = ["mini:supervised"]
supervised = ["python:tests.verdicts.test_guards:sound"]
classes = "mini"
[data]
imagenet = "mini:imagenet"
[conditions]
corruptions = { names = ["gaussian_noise"], severities = [1], seeds = 3 }
[[rules]]
match = "synthetic/*"
max_drop_vs_supervised = 0.05
max_drop_vs_clean = 0.05
"""
N, K = 48, 3


@pytest.fixture
def session(tmp_path):
    return session_of(tmp_path, SUITE, N)


def test_figures_are_those_of_all_seeds_and_records_those_of_the_first(session):
    """Images are what is independent."""
    noise, spec = corruption("gaussian_noise", 1), session.settings.candidates[0]
    cell = Cell(spec, session.settings.suite.conditions[-1])
    assert cell.condition == over_seeds(noise, K)
    before = session.correct(cell)
    row, theirs = measure(session, cell, "test")
    right = [session.outcomes(spec, member).correct for member in cell.condition.members]
    assert not np.array_equal(right[1], right[0])
    of = accuracy(np.concatenate(right), Clusters.of([(str(i % N),) for i in range(K * N)]))
    assert (row.n, row.n_clusters, theirs.n) == (K * N, N, K * N)
    assert (row.accuracy, *row.ci95) == (of.value, of.low, of.high)
    assert 1 < row.design_effect <= K
    assert row.metrics["sd_between_seeds"] == pytest.approx(np.std([r.mean() for r in right], ddof=1))
    clean = session.on_reference(spec, noise).correct
    by_limit = {check.limit: check for check in row.checks}
    assert by_limit["max_drop_vs_clean"].value == pytest.approx(row.accuracy - clean.mean())
    assert row.difference.value == pytest.approx(row.accuracy - theirs.accuracy)
    for recorded in (before, session.correct(cell)):
        assert recorded.condition == "synthetic/imagenet-c-gaussian_noise-1-3seeds"
        assert recorded.ids == session.outcomes(spec, noise).ids
        assert np.array_equal(recorded.correct, right[0])
