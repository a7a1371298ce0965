"""Lists of classes: what a model's logits stand for, and what a data set's folders are called."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import InputError, nearest


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of the logits: `keys` are stable ids (wnids for ImageNet), `names` are what prompts say.

    `prompts` is the template set that the field uses for these classes.
    """

    name: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    prompts: str = "openai-80"

    def __len__(self) -> int:
        return len(self.keys)

    def positions_in(self, other: ClassList) -> tuple[int, ...] | None:
        """Where each class stands in `other`; None where one is not in it."""
        index = {key: i for i, key in enumerate(other.keys)}
        return tuple(index[key] for key in self.keys) if all(key in index for key in self.keys) else None


def _imagenet() -> ClassList:
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data.imagenet_info import ImageNetInfo

    return ClassList("imagenet", tuple(ImageNetInfo("imagenet-1k").label_names()), tuple(IMAGENET_CLASSNAMES))


def _mini() -> ClassList:
    from models.mini.world import CLASSES

    return ClassList("mini", tuple(f"m{i:08d}" for i in range(len(CLASSES))), CLASSES)


def _cifar10() -> ClassList:
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return ClassList("cifar10", names, names, prompts="cifar10-18")


_LISTS = {"imagenet": _imagenet, "mini": _mini, "cifar10": _cifar10}
CLASS_LISTS = tuple(_LISTS)


@functools.cache
def class_list(name_or_file: str) -> ClassList:
    """`imagenet` (1000 wnids with the names that open_clip prompts with), `cifar10`, `mini` (drawn), or a file.

    A file has a class a line: a key, which folders are called by, and after a tab what prompts call it. wnids need no
    name, they have ImageNet's.

    Raises `InputError` for an unknown name or a file that is not such a list.
    """
    if name_or_file in _LISTS:
        return _LISTS[name_or_file]()
    file = Path(name_or_file)
    if not file.is_file():
        raise InputError(f"class list '{name_or_file}' is neither known nor a file; {nearest(name_or_file, _LISTS)}")
    lines = _lines(file)
    keys = tuple(key for key, _ in lines)
    if len(set(keys)) < len(keys) or len(keys) < 2:
        raise InputError(f"class list {file}: two or more classes, each on a line of its own, are expected")
    known = dict(zip((imagenet := _imagenet()).keys, imagenet.names, strict=True))
    return ClassList(file.stem, keys, tuple(name or known.get(key, key) for key, name in lines))


def renamed(classes: ClassList, file: Path) -> ClassList:
    """The same classes under the names of a file: JSON `{key: name}`, or text with `key<TAB>name` or just a name, in
    the order of the classes, a line. Raises `InputError` where a class gets no name."""
    if file.suffix == ".json":
        try:
            names = {str(key): str(name) for key, name in json.loads(file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"class names {file}: not a JSON of the form {{key: name}}: {error}") from None
    else:
        lines = _lines(file)
        if not any(name for _, name in lines) and len(lines) == len(classes):
            lines = list(zip(classes.keys, (line for line, _ in lines), strict=True))
        names = dict(lines)
    if missing := [key for key in classes.keys if not names.get(key)]:
        raise InputError(
            f"class names {file}: {len(missing)} of {len(classes)} classes have no name, {missing[0]} among them"
        )
    return replace(classes, names=tuple(names[key] for key in classes.keys))


def _lines(file: Path) -> list[tuple[str, str]]:
    """(before the tab, after it) of each line that is neither empty nor a comment."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a text file in UTF-8: {error}") from None
    parts = (line.partition("\t") for line in lines if line.strip() and not line.startswith("#"))
    return [(key.strip(), name.strip()) for key, _, name in parts]
