"""Accuracy on images that a program made worse: against the supervised baselines."""

import pytest

from metrics.results import Cell


@pytest.mark.synthetic
def test_corruption(result: Cell) -> None:
    assert result.holds, result.reason
