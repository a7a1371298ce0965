"""The published accuracies that the package carries, and those of a suite."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

from clip_robustness.suites.figures import Figures, read

_FILE = Path(__file__).parent / "data" / "published.csv"


@cache
def published() -> Figures:
    """Those that the package carries; the head of its file says whose they are."""
    return read(_FILE)


def known_figures(own: Path | None, data_sets: Collection[str] = ()) -> Figures:
    """The package's, and those of a file of the user's own. Raises as `read` does."""
    return published() + read(own, data_sets) if own else published()
