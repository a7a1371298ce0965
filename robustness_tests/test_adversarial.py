"""Accuracy under attack: an image counts only if it is right when clean and stays right; against the baselines."""

import pytest

from clip_robustness.fixtures.holding import check
from clip_robustness.results.result import Result


@pytest.mark.adversarial
def test_attack(result: Result) -> None:
    check(result)
