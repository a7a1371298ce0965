"""Where things are kept that can be computed anew."""

from __future__ import annotations

import os
from pathlib import Path

from models.files import expanded


def cache_folder() -> Path:
    """`$CLIP_ROBUSTNESS_CACHE`, else `clip-robustness` in the user's cache folder."""
    if chosen := os.environ.get("CLIP_ROBUSTNESS_CACHE"):
        return expanded(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clip-robustness"
