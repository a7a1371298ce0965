"""Hugging Face `datasets`: a name on the hub, or a local folder of Parquet or Arrow files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clip_robustness.datasets.clusters import existing
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.labels import Label
from clip_robustness.datasets.records import UNKNOWN, Records, optional, said_of
from clip_robustness.datasets.vocabulary import NAMED, NUMBERED, OTHERWISE, whole
from clip_robustness.errors import InputError, nearest
from clip_robustness.query import split_options

_OPTIONS = ("split", "config", "image", "label")
_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")
_NAMES = (*NAMED, "english_label", "category", "text", "name", "label_str")
"""Columns that say what the numbers of another one mean."""


def read(data: str, source: str, cluster: str = "") -> Records:
    """All rows of `org/name?split=test&config=...`, or of `/folder?split=test`. Images are decoded when they are used.

    The columns are those called `image` and `label`, else the only ones of their kind, or what `image=` and `label=`
    name; `cluster` is that of what belongs together. Raises `InputError` for what can't be loaded, and for tables
    without such columns or with several.
    """
    found = opened(data, source)
    datasets, table, place, options = found.library, found.rows, found.place, found.options
    image, label = _columns(datasets, table, place, options)
    if cluster:
        existing(place, cluster, list(table.features))
    feature = table.features[label]
    names = getattr(getattr(feature, "feature", feature), "names", None) or ()  # of a list, those of what it is of
    cells = found.cells(label)
    labels = tuple(_labels(cell, row, f"{place}: the column '{label}'") for row, cell in enumerate(cells))
    other = next((name for name in _NAMES if name in table.features and name != label), None)
    said = {} if names or not other else said_of(labels, found.cells(other))
    clusters = [(str(cell),) for cell in found.cells(cluster)] if cluster else [()] * len(table)
    images = found.images(image)
    file = Path(table.cache_files[0]["filename"])
    # with its file an id stands for one image alone: rows of parts of a split, and of other columns, have others
    split = found.split
    parts = [part for part in (split if not split.isidentifier() else "", options.get("image", "")) if part]
    before = "".join(f"{part}/" for part in parts)
    samples = tuple(
        Sample(f"{before}{row:06d}", file, UNKNOWN, clusters=of, content=partial(content, images, row, image))
        for row, of in enumerate(clusters)
    )
    return Records(f"hf:{source}", samples, labels, tuple(names), said=said, mend=f"choose that column: ?label={other}")


@dataclass(frozen=True)
class Table:
    """An opened table: `rows` as `library`, which is `datasets`, has them. `place` begins messages about it."""

    library: Any
    rows: Any
    place: str
    split: str
    options: dict[str, str]

    def cells(self, column: str) -> list[Any]:
        cells: list[Any] = self.rows.select_columns([column])[:][column]
        return cells

    def images(self, column: str) -> Any:
        """The column of images alone, undecoded, for `content`."""
        return self.rows.select_columns([column]).cast_column(column, self.library.Image(decode=False))


def opened(data: str, source: str) -> Table:
    """The table of a source as in `read`. Raises `InputError` for what can't be loaded."""
    datasets = optional("datasets", data, f"hf:{source}")
    place = f"data set '{data}': hf:{source}"
    name, _, query = source.partition("?")
    try:
        options = split_options(query) if query else {}
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if unknown := [key for key in options if key not in _OPTIONS]:
        raise InputError(f"{place}: option '{unknown[0]}' is unknown; {nearest(unknown[0], _OPTIONS)}")
    split = options.get("split", "test")
    try:
        table = _load(datasets, name, split, options.get("config"))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        if isinstance(error, IndexError):  # the library looks for the first of no files
            reason = "it has no rows"
        raise InputError(f"{place} can't be loaded: {reason}") from error
    if not len(table):
        raise InputError(f"{place} has no rows")
    return Table(datasets, table, place, split, options)


def _load(datasets: Any, name: str, split: str, config: str | None) -> Any:
    """The table of a split; a local folder may be one that `save_to_disk` wrote."""
    folder = Path(name)
    if folder.is_file():
        raise ValueError(f"it is a file; name the folder that holds it, hf:{folder.parent}")
    if (folder / "dataset_dict.json").is_file():
        table = datasets.load_from_disk(name)
        if split not in table:
            raise ValueError(f"it has the splits {', '.join(table)}; choose one: ?split={next(iter(table))}")
        return table[split]
    if (folder / "state.json").is_file():
        return datasets.load_from_disk(name)
    return datasets.load_dataset(name, config, split=split)


def _columns(datasets: Any, table: Any, place: str, options: dict[str, str]) -> tuple[str, str]:
    """The column of images, and that of labels."""
    features = table.features
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    # of a table that another library wrote: bytes, or bytes and a path
    encoded = [
        k for k, f in features.items() if (isinstance(f, dict) and "bytes" in f) or "binary" in getattr(f, "dtype", "")
    ]
    images += [key for key in encoded if key in _IMAGES]
    labels = [k for k, feature in features.items() if isinstance(feature, datasets.ClassLabel) or k in NUMBERED]
    labels = labels or [k for k in features if k in OTHERWISE] or [k for k in features if k in NAMED]
    if (asked := options.get("image", images[0] if images else "")) in features and asked not in (*images, *encoded):
        raise InputError(f"{place}: the column '{asked}' holds no images")
    candidates = {"image": images, "label": labels}
    chosen = []
    for what, found in candidates.items():
        asked = options.get(what)
        if asked is not None and asked not in features:
            raise InputError(f"{place} has no column '{asked}'; {nearest(asked, features)}")
        if asked is None and not found:
            raise InputError(
                f"{place} has the columns {', '.join(features)}; an image column and a column of labels "
                f"({', '.join((*NUMBERED, *OTHERWISE, *NAMED))}) are expected, name them: ?image=...&label=..."
            )
        if asked is None and len(found) > 1 and what not in found:
            raise InputError(f"{place} has several {what} columns, {', '.join(found)}; choose one: ?{what}={found[0]}")
        chosen.append(asked or (what if what in found else found[0]))
    return chosen[0], chosen[1]


def _labels(cell: Any, row: int, where: str) -> tuple[Label, ...]:
    """What stands in a row: a whole number or a text, None where there is none, or a list of such.

    Raises `InputError` for anything else.
    """
    labels = []
    for label in cell if isinstance(cell, list) else [cell]:
        if isinstance(label, float):
            label = int(label) if label.is_integer() else None if label != label else label
        if isinstance(label, str):
            label = whole(label.strip()) or None
        if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
            raise InputError(f"{where} has {label!r:.40} in row {row}; numbers of classes, or texts, are expected")
        labels.append(label)
    return tuple(labels)


def content(table: Any, row: int, column: str) -> bytes:
    """The bytes of an image file."""
    cell = table[row][column]
    return bytes(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
