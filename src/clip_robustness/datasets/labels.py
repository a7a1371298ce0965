"""What the labels of a source mean: numbers and texts, with or without names, as classes of a data set.

Every reader asks `understood`; what it can't understand it never takes in order.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clip_robustness.datasets import imagenet
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.label_space import ClassSpace, facts
from clip_robustness.datasets.vocabulary import Called, Vocabulary, is_number
from clip_robustness.errors import InputError

Label = int | str | None
"""As it stands in a source; None: nothing stands there."""
_SHARE_IN_ORDER = 0.95
"""Of a list's names must be known, and in order, before the order says what the others mean."""


@dataclass(frozen=True)
class Naming:
    """What the classes of a data set may be called. Positions are its labels, `size` of them; those above are other
    classes of the models, up to `of_models`, and then of ImageNet, which a name can mean, too.

    `orders` are lists that numbers may be places in: first the one that a number without a name means, then the models'
    classes, then ImageNet's.
    """

    size: int
    vocabulary: Vocabulary
    orders: tuple[tuple[int, ...], ...]
    of_models: int


@dataclass(frozen=True)
class Meaning:
    """Labels as they stand -> labels of the data set; `others` are of classes of ImageNet that the suite leaves out,
    `faults` of no class of the set, with the reason where there is more to say."""

    label_of: Mapping[Label, int]
    others: frozenset[Label]
    faults: Mapping[Label, str]
    warnings: tuple[str, ...]


def naming(data: str, space: ClassSpace, classes: ClassList) -> Naming:
    """For a data set that models over `classes` see as `space`."""
    return _naming(facts(data, classes).get("numbers") == "imagenet", space, classes)


@functools.lru_cache(maxsize=8)
def _naming(imagenet_numbers: bool, space: ClassSpace, classes: ClassList) -> Naming:
    wnids = _wnids(classes)
    called = [
        Called(
            (key, *(k for i in members for k in (classes.keys[i], wnids[i]) if k)),
            tuple(classes.names[i] for i in members),
        )
        for key, members in zip(space.keys, space.members, strict=True)
    ]
    position = {key: label for i, label in space.label_of.items() for key in (classes.keys[i], wnids[i]) if key}
    lists = [classes, class_list("imagenet")] if any(wnids) else [classes]
    sizes = []
    for known in lists:
        for key, name in zip(known.keys, known.names, strict=True):
            if key not in position:
                position[key] = len(called)
                called.append(Called((key,), (name,)))
        sizes.append(len(called))
    orders = [tuple(position[key] for key in known.keys) for known in lists]
    first = orders[-1] if imagenet_numbers and len(lists) > 1 else tuple(range(len(space)))
    return Naming(len(space), Vocabulary(called), (first, *orders), sizes[0])


def _wnids(classes: ClassList) -> tuple[str, ...]:
    """ImageNet's key of each class, "" where there is none: its own, or, where none has one, that of its name, if all
    of them are names of ImageNet's."""
    known = imagenet.wnids()
    if own := set(known) & set(classes.keys):
        return tuple(key if key in own else "" for key in classes.keys)
    found = _of_imagenet().find(classes.names)
    sure = [min(positions) for positions in found if len(positions) == 1]
    if len(set(sure)) == len(classes):
        return tuple(known[position] for position in sure)
    if len(classes) == len(known) and all(i in positions for i, positions in enumerate(found)):
        return known
    return ("",) * len(classes)


@functools.cache
def _of_imagenet() -> Vocabulary:
    classes = class_list("imagenet")
    return Vocabulary([Called((key,), (name,)) for key, name in zip(classes.keys, classes.names, strict=True)])


def understood(place: str, given: Collection[Label], naming: Naming, names: Sequence[str] = ()) -> Meaning:
    """What each of the labels means; `names` are what the source calls its numbers, `place` begins the messages.

    A name is a key, a class's name or words of its synset. Decimal names are numbers, unless the keys are. A number is
    the n-th class of the set, of the models' list where it can only be that one, and of ImageNet's in a set that is
    numbered so. Raises `InputError` for numbers that count from 1, or that could be keys as well as places.
    """
    numbers = sorted({label for label in given if isinstance(label, int) and label >= 0})
    texts = sorted({label for label in given if isinstance(label, str)})
    warnings: list[str] = []
    meant: dict[Label, int | str] = dict.fromkeys(given, "")
    if numbers and list(names) != list(map(str, range(len(names)))):  # those call each number itself
        warnings += _check_start(place, numbers, len(names))
        of_names = _named(place, names, naming, warnings)
        meant |= {number: of_names[number] for number in numbers if number < len(names)}
    elif numbers:
        meant.update(_bare(place, numbers, naming, warnings, len(names)))
    meant |= dict(zip(texts, _texts(place, texts, naming, warnings), strict=True))
    label_of = {label: found for label, found in meant.items() if isinstance(found, int) and found < naming.size}
    rest = {label: found for label, found in meant.items() if label not in label_of}
    others = frozenset(label for label, found in rest.items() if isinstance(found, int) and found >= naming.of_models)
    faults = {label: found if isinstance(found, str) else "" for label, found in rest.items() if label not in others}
    return Meaning(label_of, others, faults, tuple(warnings))


def _named(place: str, names: Sequence[str], naming: Naming, warnings: list[str]) -> list[int | str]:
    """The class of each name. If nearly all are known, and stand in a known order, the others are what stands in their
    places."""
    found = _texts(place, names, naming, warnings, len(names))
    known = {n for n, meant in enumerate(found) if isinstance(meant, int)}
    for order in naming.orders:
        in_order = len(order) == len(names) and all(found[n] == order[n] for n in known)
        if not in_order or not _SHARE_IN_ORDER * len(names) <= len(known) < len(names):
            continue
        unknown = [n for n in range(len(names)) if n not in known]
        if strange := [names[n] for n in unknown if not found[n]]:
            warnings.append(
                f"{place} calls {len(strange)} of its {len(names)} classes by names that are not known (first: "
                f"'{strange[0]}'); the others stand in order, and so these are taken by their places"
            )
        return [order[n] if n in unknown else found[n] for n in range(len(names))]
    return found


def _texts(place: str, texts: Sequence[str], naming: Naming, warnings: list[str], of: int = 0) -> list[int | str]:
    """The position of each text's class, or why there is none; `of` is as in `_places`."""
    found = naming.vocabulary.find(texts)
    sure = [positions for positions in found if len(positions) == 1]
    if sure and all(min(positions) < naming.size for positions in sure):
        # none is of another class: of two classes that share a name the set's own is meant
        own = frozenset(range(naming.size))
        found = [positions & own or positions for positions in found]
    numbers = {int(text) for text in texts if is_number(text)}
    by_number: dict[Label, int | str] = {}
    if numbers and not any(positions for text, positions in zip(texts, found, strict=True) if is_number(text)):
        by_number = _places(place, sorted(numbers), naming, warnings, of)
    return [
        by_number[int(text)] if by_number and is_number(text) else _one(positions)
        for text, positions in zip(texts, found, strict=True)
    ]


def _one(positions: frozenset[int]) -> int | str:
    if len(positions) > 1:
        return f"the name of {len(positions)} classes"
    return next(iter(positions), "")


def _bare(place: str, numbers: Sequence[int], naming: Naming, warnings: list[str], of: int) -> dict[Label, int | str]:
    """Numbers without names: places, or keys where the keys are numbers; `of` is as in `_places`."""
    by_key: dict[Label, int | str] = dict(
        zip(numbers, map(_one, naming.vocabulary.find([str(n) for n in numbers])), strict=True)
    )
    first = naming.orders[0]
    keys, places = sum(isinstance(found, int) for found in by_key.values()), sum(n < len(first) for n in numbers)
    if not keys or keys < places:
        return _places(place, numbers, naming, warnings, of)
    if keys == places and any(n >= len(first) or by_key[n] != first[n] for n in numbers):
        raise InputError(
            f"{place}: the labels are numbers, which could be the classes' keys as well as their places in the list; "
            "give the classes keys that are no numbers, or names to the numbers in the data"
        )
    return by_key


def _places(place: str, numbers: Sequence[int], naming: Naming, warnings: list[str], of: int) -> dict[Label, int | str]:
    """Places in the list that numbers mean, or in that of the models where the source says that it numbers `of`
    classes, which that list has alone, or where they can only be places in it."""
    first, models = naming.orders[:2]
    if of in (0, len(first)):
        only = numbers[-1] >= len(first) and all(n < len(models) and models[n] < naming.size for n in numbers)
    else:
        only = of == len(models)
    order = models if only else first
    warnings += _check_start(place, numbers, len(order))
    return {n: order[n] if n < len(order) else "" for n in numbers}


def _check_start(place: str, numbers: Sequence[int], count: int) -> list[str]:
    """Sorted numbers of `count` classes. Raises `InputError` where they count from 1; says so where they may."""
    if numbers[0] > 0 and numbers[-1] == count:
        raise InputError(
            f"{place}: the numbers go up to {count}, and none is 0: they are counted from 1, {count} classes have the "
            f"numbers 0 to {count - 1}; subtract 1 from each"
        )
    if numbers[0] == 1 and numbers[-1] < count:
        return [f"{place}: the smallest number is 1; if classes are counted from 1, not from 0, every label is wrong"]
    return []
