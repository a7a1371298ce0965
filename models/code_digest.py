"""Digests of the package's own code, remembered as long as none of its sources changes: to find them takes a second."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from clip_robustness.cache import CacheError, cache_folder, keep
from clip_robustness.models.code import Code, combined, of_the_suite

_PACKAGE = Path(__file__).parents[1]


def digest(roots: Sequence[str], chosen: Sequence[str], find: Callable[[], Code]) -> str:
    """That of the code that `find` finds behind `roots`, as `code.code_of` does. Code of others is looked at each
    time."""
    if not all(map(of_the_suite, roots)):
        return find().digest()
    key = hashlib.sha256(repr((sources(), sys.version_info, list(roots), sorted(chosen))).encode()).hexdigest()[:32]
    try:
        place = cache_folder() / "code" / f"{key}.json"
        known = json.loads(place.read_text(encoding="utf-8"))
        return combined(known["units"], known["libraries"])
    except (OSError, CacheError, ValueError, KeyError, TypeError):
        found = find()
    if all(map(of_the_suite, found.units)):
        known = {"units": found.units_digest(), "libraries": sorted(found.libraries)}
        keep(f"code/{key}.json", json.dumps(known).encode())
    return found.digest()


@cache
def sources() -> str:
    """Of all code and tables; folders of the package may be links, which `rglob` does not follow."""
    folders = [folder.resolve() for folder in _PACKAGE.iterdir()]
    inside = [file for kind in ("*.py", "*.csv") for folder in folders for file in folder.rglob(kind)]
    found = hashlib.sha256()
    for file in sorted([*_PACKAGE.glob("*.py"), *inside]):
        found.update(str(file).encode() + file.read_bytes())
    return found.hexdigest()
