"""Accuracy on images that a program made worse: against the supervised baselines."""

import pytest

from clip_robustness.fixtures.holding import check
from clip_robustness.results.result import Result


@pytest.mark.synthetic
def test_corruption(result: Result) -> None:
    check(result)
