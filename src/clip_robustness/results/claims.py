"""Claims of a paper that a profile names, and whether each holds for a candidate, as far as a run tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from clip_robustness.results.result import Result
from clip_robustness.results.results import Claim


class Stated(Protocol):
    """What is claimed: that a limit is kept, or that a figure is above 0, in all cells that one of `match` matches."""

    @property
    def name(self) -> str: ...
    @property
    def says(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def match(self) -> tuple[str, ...]: ...
    @property
    def limit(self) -> str: ...
    @property
    def figure(self) -> str: ...


def of_cells(claims: Iterable[Stated], cells: Sequence[Result]) -> list[Claim]:
    """Each claim for each candidate. One that is shown to be wrong in a cell does not hold; one that is shown to be
    right in all holds; in between it is open."""
    candidates = dict.fromkeys(cell.model for cell in cells if cell.role == "candidate")
    return [_of_model(claim, model, cells) for model in candidates for claim in dict.fromkeys(claims)]


def _of_model(claim: Stated, model: str, cells: Sequence[Result]) -> Claim:
    own = [
        cell
        for cell in cells
        if cell.role == "candidate"
        and cell.model == model
        and any(fnmatchcase(f"{cell.family}/{cell.id}", pattern) for pattern in claim.match)
    ]
    found = {cell.label: _status(claim, cell) for cell in own}
    wrong = [label for label, status in found.items() if status == "fail"]
    right = [label for label, status in found.items() if status == "pass"]
    if not wrong and not right:
        status, detail = "open", "no cell tells" if own else "no cell of it is in the run"
    elif wrong:
        status, detail = "does not hold", f"not in {len(wrong)} of {len(found)} conditions: {_named(wrong)}"
    elif len(right) == len(found):
        status, detail = "holds", f"in {len(right)} of {len(found)} conditions"
    else:
        left = [label for label in found if label not in right]
        status, detail = "open", f"shown in {len(right)} of {len(found)} conditions, not in {_named(left)}"
    stated = {key: getattr(claim, key) for key in ("name", "says", "source", "match", "limit", "figure")}
    return Claim(model, **stated, status=status, detail=detail)


def _status(claim: Stated, cell: Result) -> str:
    """pass, fail or inconclusive; '' where the cell does not tell."""
    if claim.limit:
        return next((check.status for check in cell.checks if check.limit == claim.limit), "")
    low, high = (cell.metrics.get(f"{claim.figure}_ci95_{end}") for end in ("low", "high"))
    if low is None or high is None:
        return ""
    return "pass" if low > 0 else "fail" if high < 0 else "inconclusive"


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
