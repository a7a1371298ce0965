"""Ways to say the same to a zero-shot model: one template at a time, synonyms, typos, other names."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_robustness.datasets import imagenet
from clip_robustness.datasets.classes import ClassList, renamed
from clip_robustness.errors import InputError
from clip_robustness.models.templates import Prompts, TextTemplate, read_prompts

_DRAWS = 5
"""Of typos at random."""
_TRIED = 16
"""Typos of a name, of which a search takes the one that moves its text the furthest."""
Distance = Callable[[str, Sequence[str]], Sequence[float]]
"""How far each of some names is from a name, as a model reads them."""


@dataclass(frozen=True)
class Wording:
    """What a zero-shot head is made of: names of all classes, and prompts."""

    name: str
    names: tuple[str, ...]
    prompts: Prompts


@dataclass(frozen=True)
class Asked:
    """What a condition `kind` says of text; `file` and `prompts` are those of the suite's table, if any."""

    kind: str
    file: Path | None = None
    prompts: str = ""


def wordings(asked: Asked, own: Wording, classes: ClassList, seed: int, distance: Distance) -> tuple[Wording, ...]:
    """One or more. Raises `InputError` for a file that is missing or does not fit."""
    if asked.kind == "templates":
        return tuple(Wording(_called(t), own.names, Prompts(_called(t), (t,), (1.0,))) for t in own.prompts.templates)
    if asked.kind == "synonyms":
        found = _of_file(asked.file, classes) if asked.file else _lemmas(classes)
        rounds = range(max(map(len, found.values())))
        every = (tuple(_at(found.get(key, ()), i, name) for key, name in _named(classes, own)) for i in rounds)
        return tuple(Wording(f"synonyms {i + 1}", names, own.prompts) for i, names in enumerate(dict.fromkeys(every)))
    if asked.kind == "typos":
        rngs = [np.random.default_rng([seed, draw]) for draw in range(_DRAWS)]
        every = (tuple(typo(name, own.names, rng) for name in own.names) for rng in rngs)
        return tuple(Wording(f"typos {draw + 1}", names, own.prompts) for draw, names in enumerate(every))
    if asked.kind == "typos-search":
        names = tuple(_furthest(name, own.names, np.random.default_rng([seed, 99]), distance) for name in own.names)
        return (Wording("typos that were searched", names, own.prompts),)
    if asked.file is None:
        raise InputError(f"text '{asked.kind}' needs a file of class names: file = \"names.tsv\"")
    prompts = read_prompts(asked.prompts) if asked.prompts else own.prompts
    return (Wording(asked.file.stem, renamed(classes, asked.file).names, prompts),)


def typo(name: str, others: Sequence[str], rng: np.random.Generator) -> str:
    """A name that is one letter away (Levenshtein 1: one more, one less, another one) and no other class's."""
    while True:
        letters, place = string.ascii_lowercase, int(rng.integers(len(name)))
        letter = letters[int(rng.integers(len(letters)))]
        end = (name[place:], name[place + 1 :], name[place + 1 :])[how := int(rng.integers(3))]
        found = name[:place] + ("" if how == 1 else letter) + end
        if found.strip() and found != name and found not in others:
            return found


def _furthest(name: str, others: Sequence[str], rng: np.random.Generator, distance: Distance) -> str:
    tried = list(dict.fromkeys(typo(name, others, rng) for _ in range(_TRIED)))
    return tried[int(np.argmax(distance(name, tried)))]


def _called(template: object) -> str:
    return template.text if isinstance(template, TextTemplate) else repr(template)


def _named(classes: ClassList, own: Wording) -> Sequence[tuple[str, str]]:
    return list(zip(classes.keys, own.names, strict=True))


def _at(synonyms: Sequence[str], i: int, name: str) -> str:
    """Of fewer the last one."""
    return synonyms[min(i, len(synonyms) - 1)] if synonyms else name


def _lemmas(classes: ClassList) -> Mapping[str, tuple[str, ...]]:
    """WordNet's, of ImageNet's classes."""
    found = {key: tuple(words.split(", ")) for key, words in imagenet.words().items() if key in classes.keys}
    if not found:
        raise InputError(
            f"text 'synonyms': '{classes.name}' has no classes of ImageNet; give a file, key<TAB>name|name a line"
        )
    return found


def _of_file(file: Path, classes: ClassList) -> Mapping[str, tuple[str, ...]]:
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a text file in UTF-8: {error}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        key, tab, names = line.partition("\t")
        synonyms = tuple(name.strip() for name in names.split("|") if name.strip())
        if not tab or not synonyms or key not in classes.keys:
            raise InputError(f"{file}, line {number}: a class's key, a tab and its names between '|' are expected")
        found[key] = synonyms
    if not found:
        raise InputError(f"{file}: it has no lines, key<TAB>name|name")
    return found
