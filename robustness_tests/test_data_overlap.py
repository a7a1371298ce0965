"""Whether the verdicts on natural shifts stay without the images that overlap with the pre-training set."""

import pytest

from metrics.results import Cell


@pytest.mark.overlap
def test_verdict_stays_without_overlap(result: Cell) -> None:
    assert result.holds, result.reason
