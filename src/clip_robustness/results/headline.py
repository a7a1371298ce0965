"""What a run comes to: the verdict on it in a sentence, and its cells counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clip_robustness.errors import number_of
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

VERDICTS = ("fail", "error", "improved", "known weakness", "inconclusive", "not run", "not gated", "pass")
"""The worst first."""


def candidates(cells: Sequence[Result]) -> list[Result]:
    return [cell for cell in cells if cell.role == "candidate"]


def counts(cells: Iterable[Result]) -> dict[str, int]:
    """Verdict -> how many cells, the worst first; a verdict of a later version last."""
    found = Counter(cell.verdict for cell in cells)
    return {verdict: found[verdict] for verdict in (*VERDICTS, *sorted(set(found) - set(VERDICTS))) if found[verdict]}


def failing(cells: Iterable[Result]) -> list[Result]:
    """What the gate fails in, the worst verdict first; also where the suite's gate only reports."""
    found = [cell for cell in cells if cell.fails or cell.verdict in ("fail", "error", "improved")]
    return sorted(found, key=lambda cell: VERDICTS.index(cell.verdict))


@dataclass(frozen=True)
class Headline:
    """The verdict on a run in a sentence, and the verdicts of its cells counted. It holds only where every limit was
    shown to be kept; where none was shown to be broken either, it is undecided."""

    state: Literal["holds", "fails", "undecided"]
    sentence: str
    counts: str

    @property
    def sign(self) -> str:
        return {"holds": "✓", "fails": "✕", "undecided": "?"}[self.state]

    @property
    def text(self) -> str:
        return f"{self.sentence}; {self.counts}" if self.counts else self.sentence


def headline(results: Results) -> Headline:
    """All that is said of a run as a whole follows from this; known weaknesses are no limits that count."""
    shown = candidates(results.cells)
    failed, kept, limits = failing(shown), sum(cell.kept for cell in shown), sum(cell.gated for cell in shown)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts(shown).items())
    part = " in this part of the run" if results.partial or results.shard else ""
    known = f"{kept} of {number_of(limits, 'limit')} shown to hold"
    if failed:
        ignored = " (report only: no test fails)" if all(cell.allowed for cell in failed) else ""
        return Headline(
            "fails", f"The gate fails in {len(failed)} of {number_of(len(shown), 'cell')}{ignored}: {known}", counted
        )
    if all(cell.accuracy is None for cell in shown):
        where = f" in {number_of(len(shown), 'cell')}" if shown else ""
        return Headline("undecided", f"Nothing was measured{where}", counted)
    if results.missing:
        return Headline(
            "undecided",
            f"The run ended before {len(results.missing)} of {number_of(len(shown), 'cell')}: {known}",
            counted,
        )
    if not limits:
        weak = any(cell.verdict == "known weakness" for cell in shown)
        why = "all limits are known weaknesses" if weak else "no rule has a limit"
        return Headline("undecided", f"Nothing is gated: {why}", counted)
    if kept < limits or any(cell.verdict == "inconclusive" for cell in shown):
        return Headline("undecided", f"The gate is undecided: {known}", counted)
    return Headline("holds", f"The gate holds{part}: {known}", counted)
