"""`key=value&key=value`, as it stands behind the `?` of a spec or a place."""

from __future__ import annotations

from urllib.parse import unquote

from clip_robustness.errors import InputError


def split_options(text: str) -> dict[str, str]:
    """`a=1&b=x%26y` -> {a: 1, b: x&y}. Raises `InputError` for a pair without a value, or a key given twice."""
    found: dict[str, str] = {}
    for pair in text.split("&"):
        key, _, value = pair.partition("=")
        if not key or not value:
            raise InputError(f"the option '{pair}' is not of the form key=value")
        if key in found:
            raise InputError(f"the option '{key}' is given twice")
        found[key] = unquote(value)
    return found
