"""Model spec strings: one grammar for options, suites and reports.

    open_clip:ARCH/TAG          open_clip:ARCH@FILE     open_clip:hf-hub:ORG/NAME
    timm:NAME                   timm:NAME@FILE
    python:MODULE:FACTORY       mini:clip | mini:supervised

This module imports neither torch nor a model library, so that specs can be checked while tests are collected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError, nearest

KINDS = ("open_clip", "timm", "python", "mini")
MINI = ("clip", "supervised")


@dataclass(frozen=True)
class ModelSpec:
    """A parsed spec. `text` is what the user wrote; `tag` and `file` are empty where the spec has none."""

    text: str
    kind: str
    name: str
    tag: str = ""
    file: Path | None = None

    @property
    def label(self) -> str:
        """A short name for test ids: only characters that `pytest -k` can select, and never the word `adversarial`,
        which selects the attacks."""
        parts = [self.kind, self.name, self.tag, self.file.stem if self.file else ""]
        label = re.sub(r"[^\w:.+-]", "-", ":".join(p for p in parts if p), flags=re.ASCII)
        return re.sub("adversarial", "adv", label, flags=re.IGNORECASE)

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> ModelSpec:
    """Read a spec string. Files must exist; whether an architecture does is known only to its library, later.

    Raises `InputError` for an unknown kind, a missing part or a missing file.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        raise InputError(
            f"model spec '{text}': it must start with {', '.join(f'{k}:' for k in KINDS)}; {nearest(kind, KINDS)}"
        )
    rest, at, file_name = rest.partition("@")
    if not rest or (at and not file_name):
        raise InputError(f"model spec '{text}': a name is missing; write {kind}:NAME or {kind}:NAME@FILE")
    name, tag = rest, ""
    if kind == "open_clip" and not rest.startswith("hf-hub:"):
        name, _, tag = rest.partition("/")
        if not tag and not at:
            raise InputError(f"model spec '{text}': name the weights as {kind}:{name}/TAG or {kind}:{name}@FILE")
    if kind == "mini" and name not in MINI:
        raise InputError(f"model spec '{text}': the embedded models are mini:clip and mini:supervised")
    if kind == "python" and rest.count(":") != 1:
        raise InputError(f"model spec '{text}': write python:MODULE:FACTORY")
    file = Path(file_name).expanduser() if at else None
    if file is not None:
        if kind not in ("open_clip", "timm") or tag or name.startswith("hf-hub:"):
            raise InputError(f"model spec '{text}': @FILE goes with open_clip:ARCH and timm:NAME alone")
        if not file.is_file():
            raise InputError(f"model spec '{text}': there is no file {file}")
    return ModelSpec(text, kind, name, tag, file)
