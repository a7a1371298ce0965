"""What people call classes: by key, by name, by the words of ImageNet's synsets, in any spelling."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clip_robustness.datasets import imagenet

_Table = Mapping[str, frozenset[int]]
NAMED = ("wnid", "synset", "class_name", "classname", "label_name", "label_text", "class")
"""What tables and records of samples call the name of a class."""
NUMBERED = ("label", "labels", "cls", "fine_label")
"""The same for its number, which may be a name, too."""
OTHERWISE = ("target", "class_id", "class_idx", "class_index", "label_id", "label_idx", "category")
"""The same where there is nothing of these."""
_WNID_AND_NAME = re.compile(r"(n\d{8})[\W_]\D*")
_SIGNED = re.compile(r"[-+]\d+")
_WITH_ZEROS = re.compile(r"(-?\d{1,9})\.0+", re.ASCII)


class Called(NamedTuple):
    """What one class is called: ids, which folders are named by, and names, which prompts say."""

    keys: tuple[str, ...]
    names: tuple[str, ...] = ()


class Vocabulary:
    """Text -> the positions of the classes that it may stand for."""

    def __init__(self, classes: Sequence[Called]) -> None:
        self._exact = _table((key, i) for i, called in enumerate(classes) for key in called.keys)
        synsets = [
            (words, i)
            for i, called in enumerate(classes)
            for key in called.keys
            if (words := imagenet.words().get(key))
        ]
        self._whole = (
            _table((plain(key), i) for i, called in enumerate(classes) for key in called.keys),
            _table((plain(name), i) for i, called in enumerate(classes) for name in called.names),
            _table((plain(words), i) for words, i in synsets),
        )
        self._words = _table((plain(word), i) for words, i in synsets for word in words.split(","))

    def find(self, texts: Sequence[str]) -> list[frozenset[int]]:
        """The classes of each text: none, one, or several that share it.

        A text that equals a key, or is a wnid with a name behind it (`n02085620-Chihuahua`), is that key. The others
        are a list by one hand: what most of them are, keys, names or synsets ('tench, Tinca tinca'; 'tench'), is looked
        up first.
        """
        plainly = [plain(text) for text in texts]
        columns = [[table.get(text, frozenset()) for text in plainly] for table in self._whole]
        columns.append([self._sharing(text) for text in texts])
        columns.sort(key=lambda column: -sum(len(found) == 1 for found in column))
        exact = [self._exact.get(text) or self._exact.get(_wnid(text), frozenset()) for text in texts]
        return [next(filter(None, found), frozenset()) for found in zip(exact, *columns, strict=True)]

    def _sharing(self, text: str) -> frozenset[int]:
        """The synsets that have all of these words."""
        return frozenset.intersection(*(self._words.get(plain(word), frozenset()) for word in text.split(",")))


def _table(pairs: Iterable[tuple[str, int]]) -> _Table:
    table: defaultdict[str, set[int]] = defaultdict(set)
    for text, position in pairs:
        if text:
            table[text].add(position)
    return {text: frozenset(positions) for text, positions in table.items()}


def plain(text: str) -> str:
    """Without case, punctuation and zeros before a number, in one of Unicode's forms: 'Desk_Lamp' -> 'desk lamp'."""
    if _SIGNED.fullmatch(text):  # -1 is not class 1
        return text
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return str(int(words)) if is_number(words) else words


def _wnid(text: str) -> str:
    found = _WNID_AND_NAME.fullmatch(text)
    return found[1] if found else ""


def whole(text: str) -> str:
    """'3.0', as tables with a missing cell have numbers, -> '3'; any other text as it is."""
    return found[1] if (found := _WITH_ZEROS.fullmatch(text)) else text


def is_number(text: str) -> bool:
    """Whether it is one in decimal digits that a class could have."""
    return text.isdecimal() and len(text) < 10
