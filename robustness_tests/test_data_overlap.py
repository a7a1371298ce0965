"""Whether the verdicts on natural shifts stay without the images that overlap with the pre-training set."""

import pytest

from clip_robustness.fixtures.holding import check
from clip_robustness.results.result import Result


@pytest.mark.overlap
def test_verdict_stays_without_overlap(result: Result) -> None:
    check(result)
