"""What people call classes: by key, by name, by the words of ImageNet's synsets, in any spelling."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clip_robustness.datasets import imagenet

_Table = Mapping[str, frozenset[int]]


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

        A text that equals a key is that key. The others are a list by one hand: what most of them are, keys, names or
        synsets ('tench, Tinca tinca'; 'tench'), is looked up first.
        """
        plainly = [plain(text) for text in texts]
        columns = [[table.get(text, frozenset()) for text in plainly] for table in self._whole]
        columns.append([self._sharing(text) for text in texts])
        columns.sort(key=lambda column: -sum(len(found) == 1 for found in column))
        exact = [self._exact.get(text, frozenset()) for text in texts]
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
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return str(int(words)) if is_number(words) else words


def is_number(text: str) -> bool:
    """Whether it is one in decimal digits that a class could have."""
    return text.isdecimal() and len(text) < 10
