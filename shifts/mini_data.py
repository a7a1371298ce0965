"""The drawn world's test sets, written to the cache folder in the published layouts of the data sets they stand for."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from filelock import FileLock
from PIL import Image

from models import mini
from models.cache import cache_folder
from models.classes import class_list
from models.errors import InputError, nearest

_COUNT = 480
_NUMBERED = ("imagenet-v2",)
"""Sets whose class folders are numbers in the published layout; the others' are wnids."""


def mini_folder(name: str) -> Path:
    """The folder of a drawn test set; drawn on first use, once, whatever the number of processes that ask."""
    from models.mini.sets import TEST_SETS, picture

    if name not in TEST_SETS:
        raise InputError(f"data source 'mini:{name}' is unknown; {nearest(name, TEST_SETS)}")
    target = cache_folder() / f"mini-{_version()}" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            partial = target.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            for index in range(_COUNT):
                pixels, label = picture(name, index)
                folder = partial / (str(label) if name in _NUMBERED else class_list("mini").keys[label])
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{name}-{index:05d}.png")
            partial.rename(target)
    return target


def _version() -> str:
    """Changes with the code that draws, so that an old cache is never taken for a new world."""
    digest = hashlib.sha256(f"{_COUNT}".encode())
    for name in ("objects.py", "world.py", "sets.py"):
        digest.update((mini.FOLDER / name).read_bytes())
    return digest.hexdigest()[:10]
