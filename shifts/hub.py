"""Hugging Face `datasets`: a name on the hub, or a local folder of Parquet or Arrow files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from models.errors import InputError, nearest
from shifts.image_set import Item
from shifts.sources import Records, optional

_LABELS = ("label", "labels", "cls", "fine_label")


def read(data: str, source: str) -> Records:
    """All rows of `org/name?split=test&config=...`, or of `/folder?split=test`. Images are decoded when they are used.

    Raises `InputError` for what can't be loaded and for tables without a column of images or of class numbers.
    """
    datasets = optional("datasets", data, f"hf:{source}")
    name, _, query = source.partition("?")
    options = {key: values[-1] for key, values in parse_qs(query).items()}
    if unknown := [key for key in options if key not in ("split", "config")]:
        close = nearest(unknown[0], ("split", "config"))
        raise InputError(f"data set '{data}': hf:{source}: option '{unknown[0]}' is unknown; {close}")
    try:
        table = _load(datasets, name, options.get("split", "test"), options.get("config"))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"data set '{data}': hf:{source} can't be loaded: {reason}") from error
    images = [key for key, feature in table.features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    labels += [key for key in _LABELS if key in table.features]
    if not images or not labels:
        raise InputError(
            f"data set '{data}': hf:{source} has the columns {', '.join(table.features)}; an image column and a column "
            f"of class numbers ({' or '.join(_LABELS)}) are expected"
        )
    table = table.cast_column(images[0], datasets.Image(decode=False))
    file = Path(table.cache_files[0]["filename"])
    items = [
        Item(f"{row:06d}", file, int(label), content=partial(_content, table, row, images[0]))
        for row, label in enumerate(table[labels[0]])
    ]
    names = getattr(table.features[labels[0]], "names", None) or ()
    return Records(f"hf:{source}", tuple(items), tuple(names))


def _load(datasets: Any, name: str, split: str, config: str | None) -> Any:
    """The table of a split; a local folder may be one that `save_to_disk` wrote."""
    folder = Path(name)
    if (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(name)[split]
    if (folder / "state.json").is_file():
        return datasets.load_from_disk(name)
    return datasets.load_dataset(name, config, split=split)


def _content(table: Any, row: int, column: str) -> bytes:
    cell = table[row][column]
    return bytes(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
