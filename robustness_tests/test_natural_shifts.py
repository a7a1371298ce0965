"""Clean accuracy, and accuracy on images that others took, drew or chose: against the supervised baselines."""

import pytest

from clip_robustness.fixtures.holding import check
from clip_robustness.results.result import Result


@pytest.mark.clean
def test_clean(result: Result) -> None:
    check(result)


@pytest.mark.natural
def test_natural_shift(result: Result) -> None:
    check(result)
