"""Accuracy of zero-shot models where the same classes are said in other words: the worst of several ways to say it."""

import pytest

from clip_robustness.fixtures.holding import check
from clip_robustness.results.result import Result


@pytest.mark.text
def test_wording(result: Result) -> None:
    check(result)
