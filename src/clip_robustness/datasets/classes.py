"""Lists of classes: what a model's logits stand for, and what a data set's folders are called."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clip_robustness.datasets import imagenet
from clip_robustness.datasets.class_files import read_rows
from clip_robustness.datasets.vocabulary import Called, Vocabulary
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded


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
    return ClassList("imagenet", imagenet.wnids(), imagenet.prompted())


def _mini() -> ClassList:
    lines = (Path(__file__).parent / "data" / "mini.txt").read_text(encoding="utf-8").splitlines()
    keys, names = zip(*(line.split("\t") for line in lines), strict=True)
    return ClassList("mini", keys, names)


def _cifar10() -> ClassList:
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return ClassList("cifar10", names, names, prompts="cifar10-18")


_LISTS = {"imagenet": _imagenet, "mini": _mini, "cifar10": _cifar10}
CLASS_LISTS = tuple(_LISTS)


@functools.cache
def class_list(name_or_file: str) -> ClassList:
    """`imagenet` (1000 wnids with the names that open_clip prompts with), `cifar10`, `mini` (drawn), or a file.

    A file has a class a line: a key, which folders are called by, and after a tab what prompts call it, in the order of
    a supervised model's logits; or it is in another form of `read_rows`. wnids need no name, they have ImageNet's.

    Raises `InputError` for an unknown name or a file that is not such a list.
    """
    if name_or_file in _LISTS:
        return _LISTS[name_or_file]()
    file = expanded(name_or_file)
    if not file.is_file():
        raise InputError(f"class list '{name_or_file}' is neither known nor a file; {nearest(name_or_file, _LISTS)}")
    rows = read_rows(file)
    keys = tuple(row.key or row.name for row in rows)
    if len(keys) < 2:
        raise InputError(f"class list {file}: two or more classes, each on a line of its own, are expected")
    if repeated := [key for key, times in Counter(keys).items() if times > 1]:
        raise InputError(
            f"class list {file}: '{repeated[0]}' stands in it more than once; give each class a key of its own: "
            "key<TAB>name"
        )
    known = _imagenet_names()
    names = ((row.key and row.name) or known.get(key, key) for row, key in zip(rows, keys, strict=True))
    return ClassList(file.name if file.stem in _LISTS else file.stem, keys, tuple(map(_said, names)))


def _said(name: str) -> str:
    """As a prompt says it: underscores are those of folders and identifiers."""
    return name.replace("_", " ")


def renamed(classes: ClassList, file: Path) -> ClassList:
    """The same classes under the names of a file: by their keys, or, where it has names alone, in their order.

    Raises `InputError` where a class gets no name, and where names without keys stand in another order.
    """
    rows = read_rows(file, frozenset(classes.keys))
    by_key = {row.key: row.name for row in rows if row.key}
    if repeated := [key for key, times in Counter(row.key for row in rows if row.key).items() if times > 1]:
        raise InputError(f"class names {file}: '{repeated[0]}' stands in it more than once")
    numbered = by_key.keys().isdisjoint(classes.keys) and list(by_key) == list(map(str, range(len(rows))))
    if not by_key or numbered:
        by_key = dict(zip(classes.keys, _names_in_order(classes, [row.name for row in rows], file), strict=True))
    if missing := [key for key in classes.keys if not by_key.get(key)]:
        raise InputError(
            f"class names {file}: {len(missing)} of {len(classes)} classes have no name, {missing[0]} among them"
        )
    return replace(classes, names=tuple(_said(by_key[key]) for key in classes.keys))


def _names_in_order(classes: ClassList, names: Sequence[str], file: Path) -> Sequence[str]:
    """The names, if there are as many as classes, and if what is known of them is in the order of these."""
    if len(names) != len(classes):
        raise InputError(
            f"class names {file}: {len(names)} names without keys, where '{classes.name}' has {len(classes)} classes"
        )
    given = set(names)
    if keys := [key for key, name in zip(classes.keys, classes.names, strict=True) if key in given and key != name]:
        raise InputError(f"class names {file}: '{keys[0]}' is a key, and no name that a prompt could say")
    found = Vocabulary([Called((key,), (name,)) for key, name in zip(classes.keys, classes.names, strict=True)])
    known = [(i, *places) for i, places in enumerate(found.find(names)) if len(places) == 1]
    if sum(i != place for i, place in known) > len(known) / 2:
        raise InputError(
            f"class names {file}: the names stand in another order than the classes of '{classes.name}', which begin "
            f"with '{classes.names[0]}'; write key<TAB>name"
        )
    return names


def namesakes(classes: ClassList) -> list[tuple[str, str]]:
    """Pairs of keys of one name, beside those that open_clip's names of ImageNet call so themselves."""
    known, first, found = _imagenet_names(), dict[str, str](), []
    for key, name in zip(classes.keys, classes.names, strict=True):
        other = first.setdefault(name.casefold(), key)
        if other != key and not name == known.get(key) == known.get(other):
            found.append((other, key))
    return found


@functools.cache
def _imagenet_names() -> Mapping[str, str]:
    return dict(zip(imagenet.wnids(), imagenet.prompted(), strict=True))
