"""Places that the package fills itself: `mini:NAME` is a folder of the drawn world, written on first use."""

from __future__ import annotations

import importlib

_MAKERS = {"mini": "clip_robustness.mini.data:mini_folder"}
"""Prefix -> the function from the rest to a folder, imported when it is asked for."""


def folder(place: str) -> str:
    """The folder of such a place; any other place as it is."""
    kind, _, name = place.partition(":")
    if kind not in _MAKERS:
        return place
    module, _, function = _MAKERS[kind].partition(":")
    return str(getattr(importlib.import_module(module), function)(name))
