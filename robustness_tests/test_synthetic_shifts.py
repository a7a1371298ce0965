"""Accuracy on images that a program made worse: against the supervised baselines."""

import pytest

from fixtures.holding import check
from metrics.results import Cell


@pytest.mark.synthetic
def test_corruption(result: Cell) -> None:
    check(result)
