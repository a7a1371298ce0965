"""Pictures of failures: what stands in gallery.json beside results.json, and in the report.

Workers keep the examples of a cell in the store, under the key that its row names; the process that writes the reports
collects them, as far as a budget of bytes goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from clip_robustness.errors import InputError
from clip_robustness.files import whole
from clip_robustness.results.result import Result

BUDGET = 1_600_000
"""Bytes of all pictures in a report."""
NAME = "gallery.json"
RULE = (
    "Of the images that the candidate gets wrong, first those that it gets right when clean and its baseline gets "
    "right even here, then those that it gets right when clean, then the others; within each in the order of a hash of "
    "their names, so that nobody chose them."
)


CHANGED = (
    "Of the images that both runs have, those that were right then and are wrong now, then those that were wrong then "
    "and are right now; within each in the order of a hash of their names, so that nobody chose them. The pictures are "
    "today's: an attack on the earlier checkpoint may have looked otherwise."
)


@dataclass(frozen=True)
class Example:
    """A failure, or an image that is judged otherwise than in a recorded run: names of the image, of its class and of
    the predictions ('' where there is none), and its pictures as data URIs: clean, changed, and their difference ten
    times enlarged; '' where the images are the condition's own."""

    image: str
    label: str
    before: str
    after: str
    supervised: str
    clean: str
    changed: str
    difference: str
    recorded: str = ""
    """What a recorded run took it for; '' where that is not compared, or was not recorded."""


Gallery = Mapping[str, Sequence[Example]]
"""Key of a cell -> its examples."""


def keep(folder: Path, key: str, examples: Iterable[Example]) -> None:
    """Write the examples of a cell, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / f"{key}.json") as partial:
        partial.write_text(json.dumps([asdict(example) for example in examples]), encoding="utf-8")


def collect(folder: Path, cells: Iterable[Result], budget: int = BUDGET) -> dict[str, list[Example]]:
    """What the store has for the cells: the first example of each cell, then the second of each, until the budget is
    spent; those that fail the gate before the others."""
    ordered = sorted(cells, key=lambda cell: cell.passed)
    of = [key for cell in ordered for key in (cell.regression.gallery if cell.regression else "", cell.gallery)]
    return within(budget, {key: _read(folder / f"{key}.json") for key in of if key})


def within(budget: int, gallery: Gallery) -> dict[str, list[Example]]:
    """The first examples of all cells, then the second ones, as far as `budget` bytes go."""
    chosen: dict[str, list[Example]] = {}
    for turn in range(max(map(len, gallery.values()), default=0)):
        for key, examples in gallery.items():
            if turn >= len(examples):
                continue
            budget -= sum(len(str(value)) for value in asdict(examples[turn]).values())
            if budget < 0:
                return chosen
            chosen.setdefault(key, []).append(examples[turn])
    return chosen


def to_json(gallery: Gallery) -> str:
    return json.dumps({key: [asdict(e) for e in examples] for key, examples in gallery.items()}, ensure_ascii=False)


def beside(results: Path) -> dict[str, list[Example]]:
    """The gallery of a results.json; empty where it has none. Raises `InputError` for a damaged one."""
    file = results.with_name(NAME)
    if not file.exists():
        return {}
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): [_example(e) for e in examples] for key, examples in raw.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file}: not a gallery of this suite: {error}; delete it to render without pictures"
        ) from None


def _read(file: Path) -> list[Example]:
    try:
        return [_example(raw) for raw in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []  # pictures are an extra: a report without some is better than none


def _example(raw: Mapping[str, str]) -> Example:
    """Pictures are data URIs of JPEGs and nothing else, whatever the file says."""
    example = Example(**{f.name: str(raw[f.name]) for f in fields(Example) if f.name in raw or f.default is MISSING})
    for picture in (example.clean, example.changed, example.difference):
        if picture and not picture.startswith("data:image/jpeg;base64,"):
            raise ValueError("a picture is no JPEG")
    return example
