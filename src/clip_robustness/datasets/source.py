"""Which reader a source names. Light: suites are read without what reads images."""

from __future__ import annotations

import re
from pathlib import Path

from clip_robustness import registry
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded
from clip_robustness.registry import Registered

_PREFIXED = re.compile(r"([\w.+-]{2,}):(.*)", re.ASCII | re.DOTALL)
_HERE = Path()


def reader_of(source: str, folder: Path = _HERE) -> tuple[Registered | None, str]:
    """The reader of a source and the place after its prefix; None for a folder, relative to `folder`.

    Raises `InputError` for a prefix that nobody registered, with the nearest of all.
    """
    found = _PREFIXED.fullmatch(source)
    if not found or (not registry.knows("dataset", found[1]) and expanded(source, folder).exists()):
        return None, source
    if not registry.knows("dataset", found[1]):
        known = [*registry.names("dataset"), "mini"]
        raise InputError(f"'{source}': no such folder, and '{found[1]}:' is no reader; {nearest(found[1], known)}")
    return registry.find("dataset", found[1]), found[2]
