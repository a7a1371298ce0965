"""Where things are kept that can be computed anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from clip_robustness.errors import InputError
from clip_robustness.files import expanded, whole
from clip_robustness.locks import locked

VARIABLE = "CLIP_ROBUSTNESS_CACHE"


class CacheError(InputError):
    """Nothing can be kept: there is no home, or its cache folder can't be written."""


def cache_folder() -> Path:
    """`$CLIP_ROBUSTNESS_CACHE`, else `clip-robustness` in the user's cache folder. Raises `CacheError` for a user
    without a home."""
    try:
        if chosen := os.environ.get(VARIABLE):
            return expanded(chosen)
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "clip-robustness"
    except (InputError, RuntimeError) as error:
        raise _unusable(str(error)) from None


def kept(place: Path, make: Callable[[Path], object]) -> Path:
    """A file or folder of the cache; where it is not there, one of the processes that ask makes it by `make(partial)`.

    Raises `CacheError` where it can't be written.
    """
    if place.exists():  # also in a folder that can't be written
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f"{place.name}.lock")):
            if not place.exists():
                with whole(place) as partial:
                    make(partial)
    except OSError as error:
        if not place.exists():  # else somebody was faster, where there are no locks
            raise _unusable(str(error)) from error
    return place


def keep(name: str, content: bytes) -> None:
    """Write a file of the cache; where nothing can be kept, it costs time alone."""
    with suppress(OSError, CacheError):
        place = cache_folder() / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole(place) as partial:
            partial.write_bytes(content)


def keep_newest(name: str, content: bytes, most: int) -> None:
    """As `keep`, and of the files in its folder the `most` newest alone."""
    keep(name, content)
    with suppress(OSError, CacheError):
        beside = sorted((cache_folder() / name).parent.glob("*"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in beside[most:]:
            file.unlink()


def _unusable(reason: str) -> CacheError:
    return CacheError(f"the cache folder can't be used ({reason}); set ${VARIABLE} to a folder that can be written")
