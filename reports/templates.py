"""The templates of pages."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clip_robustness.errors import number_of
from clip_robustness.reports.table import interval, share


def environment(folder: Path) -> Environment:
    """Of the templates in a folder. Whatever comes from outside is escaped."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"share": share, "interval": interval}
    made.globals["number_of"] = number_of
    return made
