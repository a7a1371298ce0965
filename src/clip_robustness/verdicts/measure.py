"""A cell spec in, judged rows of the results out: by the kind of the condition."""

from __future__ import annotations

from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.results.result import Result
from clip_robustness.verdicts import chance, mean, overlap, single


def measure(session: Session, cell: Cell, test: str, limits: int = 1) -> list[Result]:
    """The candidate's row, judged, and then a row for each supervised baseline under the same condition. Its verdict is
    an error where what it stands on is at chance.

    `test` is the id of the test that measures it, `limits` how many the run checks in all. Raises `NotRunError` for a
    cell without data, or once the time is up.
    """
    kind = cell.condition.kind
    how = mean if kind.averages else overlap if kind.is_repeated else single
    return chance.checked(session, cell, how.measure(session, cell, test, limits))
