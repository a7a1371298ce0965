"""What a run was asked for, and its cells. Light to import: it is read before every collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clip_robustness.conditions.condition import Condition
from clip_robustness.evaluation.deadline import Deadline
from clip_robustness.models.spec import ModelSpec
from clip_robustness.suites import Suite
from clip_robustness.suites.rules import Limit


@dataclass(frozen=True)
class Settings:
    """Everything that a run was asked for."""

    suite: Suite
    candidates: tuple[ModelSpec, ...]
    supervised: tuple[ModelSpec, ...]
    surrogate: ModelSpec | None
    samples: int | None
    seed: int
    device: str
    batch_size: int
    report_dir: Path
    require_all: bool
    stop_early: bool = False
    explain_gate: bool = False
    update_thresholds: bool = False
    record: str | None = None
    log: tuple[str, ...] = ()
    compare: str | None = None
    history: Path | None = None
    deadline: Deadline | None = None
    shard: tuple[int, int] | None = None
    costs: Path | None = None
    engine: str = "local"
    dry_run: bool = False
    gallery: int = 4
    exclude_overlap: Path | None = None
    verify: bool = False

    def limits(self, condition: Condition) -> list[Limit]:
        """Those that this run checks: a regression needs a recorded run."""
        return [limit for limit in self.suite.deciding(condition) if not limit.off and not self._without_run(limit)]

    def firm(self, condition: Condition) -> int:
        """How many of them are no known weakness."""
        return sum(not limit.weak for limit in self.limits(condition))

    def ungated(self, condition: Condition) -> str:
        """Why a condition has no limits in this run."""
        why = [
            f"{limit.name} is switched off by {self.suite.whose(limit.rule)}"
            if limit.off
            else f"{limit.name} is not checked: no --compare names a recorded run"
            for limit in self.suite.deciding(condition)
        ]
        return "; ".join(why) or "no rule has a limit for it"

    def _without_run(self, limit: Limit) -> bool:
        return limit.name == "max_regression" and self.compare is None

    @property
    def gallery_dir(self) -> Path:
        return self.store_dir / "gallery"

    @property
    def store_dir(self) -> Path:
        return self.report_dir.parent / "store"

    @property
    def history_dir(self) -> Path:
        return self.history or self.report_dir.parent / "history"


@dataclass(frozen=True)
class Cell:
    """What one test measures: a candidate under a condition."""

    candidate: ModelSpec
    condition: Condition

    @property
    def id(self) -> str:
        return f"{self.candidate.label}-{self.condition.id}"


def cells_of(settings: Settings, tests: Iterable[str]) -> dict[str, Cell]:
    """What tests measure, from their ids alone: the process that workers report to collects nothing."""
    by_id = {cell.id: cell for cell in (Cell(m, c) for m in settings.candidates for c in settings.suite.conditions)}
    found = {test: _within(test.partition("[")[2].removesuffix("]"), by_id) for test in tests}
    return {test: cell for test, cell in found.items() if cell}


def _within(text: str, by_id: Mapping[str, Cell]) -> Cell | None:
    """The cell of the longest id in a text: a test of the user's own may have other parameters beside it."""
    if text in by_id:
        return by_id[text]
    parts = text.split("-")
    sizes = range(len(parts) - 1, 0, -1)
    pieces = ("-".join(parts[at : at + size]) for size in sizes for at in range(len(parts) - size + 1))
    return next((by_id[piece] for piece in pieces if piece in by_id), None)
