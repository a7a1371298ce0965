"""What a check leaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """`models` of open_clip with random weights, the embedded ones where none is named; how many `images`, `batch` of
    them at a time; of how many `cells` of the default gate outcomes are compared, None: of all; for how many `seconds`
    a rate is measured."""

    models: tuple[str, ...]
    images: int
    batch: int
    cells: int | None
    seconds: float


@dataclass(frozen=True)
class Check:
    """`ok` None: it can't be made here."""

    name: str
    ok: bool | None
    detail: str

    @property
    def mark(self) -> str:
        return {True: "ok", False: "FAILS", None: "left out"}[self.ok]


@dataclass(frozen=True)
class Rate:
    """Images a second, and those of the bare passes that the work can't do without."""

    model: str
    precision: str
    work: str
    ours: float
    limit: float
    goal: float | None = None

    @property
    def share(self) -> float:
        return self.ours / self.limit

    @property
    def below(self) -> bool:
        return self.goal is not None and self.share < self.goal
