"""Whether the verdicts on natural shifts stay without the images that overlap with the pre-training set."""

import pytest

from fixtures.holding import check
from metrics.results import Cell


@pytest.mark.overlap
def test_verdict_stays_without_overlap(result: Cell) -> None:
    check(result)
