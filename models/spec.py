"""Model spec strings: one grammar for options, suites and reports.

    open_clip:ARCH/TAG          open_clip:ARCH@FILE         open_clip:hf-hub:ORG/NAME   open_clip:local-dir:DIR
    timm:NAME                   timm:NAME@FILE
    transformers:ORG/NAME       transformers:DIR
    torchvision:NAME[/TAG]      torchvision:NAME[/TAG]@FILE
    python:MODULE:FACTORY       mini:clip | mini:supervised     KIND:NAME[@FILE] of what others registered under @model

each followed by ?key=value&key=value for the options of `models.options`, and, as NAME=SPEC, after a name for what is
called so in test ids, reports and the history, whichever checkpoint it is. `preset:NAME` stands for several of them.
'@' and '?' in a path need no quotes.

This module imports neither torch nor a model library, so that specs can be checked while tests are collected.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from clip_robustness import registry
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded
from clip_robustness.models.options import Options, read_options
from clip_robustness.query import split_options

_WITHOUT_FILE = ("transformers", "python", "mini")
MINI = ("clip", "supervised", "filter")
PRESETS = Path(__file__).parent / "presets.toml"
_HERE = Path()
_ON_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_NAMED = re.compile(r"([\w.+-]+)=(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class ModelSpec:
    """A parsed spec. `text` is what results call it: the name that the user gave it, else the spec as `written`. `tag`,
    `file`, `folder` and `given` are empty where the spec has none.

    `given` holds the options as they were written, for the factories of `python:` specs; `options` are those that the
    suite itself heeds, checked.
    """

    text: str
    kind: str
    name: str
    tag: str = ""
    file: Path | None = None
    given: tuple[tuple[str, str], ...] = ()
    options: Options = field(default_factory=Options)
    written: str = ""
    folder: Path | None = None

    @property
    def named(self) -> bool:
        """Whether the user gave it a name."""
        return self.text != self.written

    @property
    def zero_shot(self) -> bool:
        """Whether it answers in the words of any classes."""
        if self.kind == "mini":
            return self.name == "clip"
        return bool(registry.find("model", self.kind).options.get("zero_shot"))

    @property
    def label(self) -> str:
        """A short name for test ids: only characters that `pytest -k` can select, and never the word `adversarial`,
        which selects the attacks."""
        if self.named:
            return self.text
        schema = "local-dir:" if self.name.startswith("local-dir:") else ""
        name = f"{schema}{self.folder.name}" if self.folder else self.name
        options = [f"{key}-{_stem(value)}" for key, value in self.given]
        parts = [self.kind, name, self.tag, self.file.stem if self.file else "", *options]
        label = selectable(":".join(p for p in parts if p))
        return re.sub("adversarial", "adv", label, flags=re.IGNORECASE)

    def __str__(self) -> str:
        return f"{self.text}={self.written}" if self.named else self.text


def selectable(text: str) -> str:
    """With '-' for all characters that `pytest -k` can't select, or that pytest would escape in a test id."""
    return re.sub(r"[^\w:.+-]", "-", text, flags=re.ASCII)


def _stem(value: str) -> str:
    """A file's name without folder and ending; other values, 0.5 among them, as they are."""
    return Path(value).stem if Path(value).suffix in (".json", ".txt", ".toml", ".tsv") else value


def parse_all(text: str, folder: Path = _HERE) -> tuple[ModelSpec, ...]:
    """The models of a spec string: several for a preset, each with the preset's options; else one."""
    kind, _, rest = text.partition(":")
    if kind != "preset":
        return (parse(text, folder),)
    name, mark, options = rest.partition("?")
    presets: dict[str, dict[str, list[str]]] = tomllib.loads(PRESETS.read_text(encoding="utf-8"))
    if name not in presets:
        raise InputError(f"model spec '{text}': there is no preset '{name}'; {nearest(name, presets)}")
    members = presets[name]["models"]
    return tuple(parse(member + ("&" if mark and "?" in member else mark) + options, folder) for member in members)


def parse(text: str, folder: Path = _HERE) -> ModelSpec:
    """Read a spec string. Files must exist, relative ones in `folder`; whether an architecture does is known only to
    its library, later.

    Raises `InputError` for an unknown kind or option, a missing part or a missing file.
    """
    named = _NAMED.match(text)
    name, written = named.groups() if named else ("", text)
    try:
        if "adversarial" in name.lower():
            raise InputError(f"the name '{name}' is part of test ids; the word adversarial selects the attacks there")
        return replace(_parse(written, folder), text=name or text, written=written)
    except InputError as error:
        raise InputError(f"model spec '{text}': {error}") from None


def _parse(text: str, folder: Path) -> ModelSpec:
    kind, colon, rest = text.partition(":")
    if kind == "preset":
        raise InputError("a preset stands for several models, here one is expected")
    if not colon or not registry.knows("model", kind):
        kinds = registry.names("model")
        raise InputError(f"it must start with {', '.join(f'{k}:' for k in kinds)}; {nearest(kind, kinds)}")
    rest, mark, option_text = _before_options(rest, folder, everything=kind == "transformers")
    is_folder = rest.startswith("local-dir:")
    rest, at, file_name = (rest, "", "") if is_folder or kind == "transformers" else rest.partition("@")
    if not rest or (at and not file_name) or (mark and not option_text):
        raise InputError(f"something is missing; write {kind}:NAME, {kind}:NAME@FILE or {kind}:NAME?key=value")
    name, tag = rest, ""
    has_schema = kind == "open_clip" and rest.startswith(("hf-hub:", "local-dir:"))
    if kind in ("open_clip", "torchvision") and not has_schema:
        name, _, tag = rest.partition("/")
        if kind == "open_clip" and not tag and not at:
            raise InputError(f"name the weights as {kind}:{name}/TAG or {kind}:{name}@FILE")
    directory = None
    if is_folder:
        directory = _holding("open_clip_config.json", expanded(rest.removeprefix("local-dir:"), folder))
        name = f"local-dir:{directory}"
    if kind == "transformers" and (rest.startswith((".", "/", "~", "$")) or expanded(rest, folder).is_dir()):
        directory = _holding("config.json", expanded(rest, folder))
        name = str(directory)
    elif kind == "transformers" and not _ON_HUB.fullmatch(rest):
        raise InputError(f"'{rest}' is neither a folder nor a name on the hub, as transformers:ORG/NAME")
    if kind == "mini" and name not in MINI:
        raise InputError("the embedded models are mini:clip and mini:supervised")
    if kind == "python" and rest.count(":") != 1:
        raise InputError("write python:MODULE:FACTORY")
    file = expanded(file_name, folder) if at else None
    if file is not None:
        if kind in _WITHOUT_FILE or (tag and kind == "open_clip") or has_schema:
            raise InputError("@FILE goes with open_clip:ARCH, timm:NAME and torchvision:NAME[/TAG] alone")
        if not file.is_file():
            hint = "; it is a folder: give the file of the weights in it" if file.is_dir() else ""
            raise InputError(f"there is no file {file}{hint}")
    given = split_options(option_text) if mark else {}
    options = read_options(f"mini:{name}" if kind == "mini" else kind, given, folder)
    return ModelSpec(text, kind, name, tag, file, tuple(given.items()), options, folder=directory)


def _holding(name: str, directory: Path) -> Path:
    if not (directory / name).is_file():
        kinds = {"open_clip_config.json": "open_clip:local-dir:", "config.json": "transformers:"}
        other = next((kind for file, kind in kinds.items() if file != name and (directory / file).is_file()), "")
        hint = f"it is a folder for {other}{directory}" if other else "give the folder that holds it"
        raise InputError(f"there is no {directory / name}; {hint}")
    return directory


def _before_options(rest: str, folder: Path, *, everything: bool) -> tuple[str, str, str]:
    """Cut at the '?' before the options. A path may have one, too: the longest that is there is meant; `everything` may
    be one."""
    first, *more = rest.split("?")
    start = len("local-dir:") if first.startswith("local-dir:") else 0 if everything else first.find("@") + 1
    if start or everything:
        for count in range(len(more), 0, -1):
            whole = "?".join([first, *more[:count]])
            with suppress(InputError, OSError):  # what is no path: options with a variable, or of any length
                if expanded(whole[start:], folder).exists():
                    return whole, rest[len(whole) :][:1], rest[len(whole) + 1 :]
    return rest.partition("?")
