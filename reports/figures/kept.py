"""Figures, kept from run to run: drawing them takes longer than all else of a run whose outcomes are stored."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version

from pydantic import TypeAdapter

from clip_robustness.cache import CacheError, cache_folder, keep_newest
from clip_robustness.models.code_digest import sources
from clip_robustness.reports.svg import Panel
from clip_robustness.results.results import Results

_COLUMNS = 3
_FILES = 16
"""A run of several models leaves some hundred kilobytes."""
_LARGEST = 1 << 28
"""Bytes that are decompressed."""


@dataclass(frozen=True)
class Plot:
    """A figure: an anchor, a heading, a caption, and its panels."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]

    @property
    def columns(self) -> list[list[Panel]]:
        """In three columns of about one height: each panel below those that take least room."""
        columns: list[list[Panel]] = [[] for _ in range(min(_COLUMNS, len(self.panels)))]
        for panel in self.panels:
            min(columns, key=lambda column: sum(above.tallness for above in column)).append(panel)
        return columns


_LIBRARIES = ("matplotlib", "numpy", "scipy")
_PLOTS = TypeAdapter(list[Plot])


def remembered(results: Results, draw: Callable[[Results], list[Plot]]) -> list[Plot]:
    """What `draw` makes of cells and summaries, or made of the same before. How long a cell took is in no figure."""
    cells = [replace(cell, seconds=0.0) for cell in results.cells]
    asked = Results("", {}, [], cells, results.summaries).to_json()
    key = hashlib.sha256(repr((asked, sources(), *map(version, _LIBRARIES))).encode()).hexdigest()[:32]
    name = f"figures/{key}.json.z"
    with suppress(OSError, CacheError, ValueError, zlib.error):
        unpacked = zlib.decompressobj().decompress((cache_folder() / name).read_bytes(), _LARGEST)
        return _PLOTS.validate_json(unpacked)
    plots = draw(results)
    keep_newest(name, zlib.compress(_PLOTS.dump_json(plots)), _FILES)
    return plots
