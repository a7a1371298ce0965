"""Class spaces: what a data set's labels stand for, in the classes of the models that are tested on it.

A model has one logit a class of its own list. A data set may have all of these classes, some of them (imagenet-a and
imagenet-r: the prediction is the best of their 200 classes, not of 1000), or classes that are unions of them: those of
objectnet and the video sets score as their best member, those of cue-conflict as the mean of its probabilities.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clip_robustness import registry
from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_FACTS = Path(__file__).parent / "data"


@dataclass(frozen=True)
class ClassSpace:
    """The classes of a data set, in the order of its labels.

    `keys` are what its folders or files call them. `members[i]` are the positions in the model's class list that count
    as class i; none where no model class does: such a class is never predicted. `pool` is how members make one score.
    """

    name: str
    keys: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    pool: Literal["max", "mean"] = "max"

    def __len__(self) -> int:
        return len(self.keys)

    def is_all_of(self, classes: ClassList) -> bool:
        """Whether it is the models' own list, class by class."""
        return self.members == tuple((i,) for i in range(len(classes)))

    @functools.cached_property
    def label_of(self) -> dict[int, int]:
        """Position in the model's class list -> label, for those that are in the space."""
        return {position: label for label, members in enumerate(self.members) for position in members}

    def project(self, logits: Tensor) -> Tensor:
        """Logits (n, model classes) -> (n, data-set classes); differentiable.

        The maximum over members, or the logarithm of the mean of their probabilities.

        A class without members gets the lowest finite number, so that it never wins and no arithmetic meets infinity.
        """
        import torch

        positions = torch.tensor(list(self.label_of), device=logits.device)
        labels = torch.tensor(list(self.label_of.values()), device=logits.device)
        lowest = logits.new_full((len(logits), len(self)), torch.finfo(logits.dtype).min)
        labels = labels.expand(len(logits), -1)
        if self.pool == "max":
            return lowest.scatter_reduce(1, labels, logits[:, positions], "amax")
        shares = torch.zeros_like(lowest).scatter_reduce(
            1, labels, logits.softmax(1)[:, positions], "mean", include_self=False
        )
        return shares.clamp_min(torch.finfo(logits.dtype).tiny).log()


def own_space(classes: ClassList) -> ClassSpace:
    """The space of a class list's own classes."""
    return ClassSpace(classes.name, classes.keys, tuple((i,) for i in range(len(classes))))


def class_space(data: str, classes: ClassList, members: Mapping[str, Sequence[str]] | None = None) -> ClassSpace:
    """The space of a data set for models over `classes`: the published one, or that of `members` (key -> class keys).

    A data set without classes of its own has those of the models. Raises `InputError` where the models lack a class
    that the data set needs.
    """
    name, published_facts = data, facts(data, classes)
    if members is None:
        published = published_facts.get("classes")
        if published is None:
            name, published = classes.name, classes.keys
        members = published if isinstance(published, dict) else {key: [key] for key in published}
    index = {key: i for i, key in enumerate(classes.keys)}
    needed = [key for keys in members.values() for key in keys]
    if missing := [key for key in needed if key not in index]:
        raise InputError(
            f"data set '{data}' has classes that the class list '{classes.name}' lacks: {missing[0]} "
            f"({len(missing)} of {len(needed)}); take it out of the suite, or use the class list it was made for"
        )
    if len(set(needed)) < len(needed):
        raise InputError(f"data set '{data}': a class of '{classes.name}' is a member of two of its classes")
    positions = tuple(tuple(index[key] for key in keys) for keys in members.values())
    return ClassSpace(name, tuple(members), positions, published_facts.get("pool", "max"))


def facts(data: str, classes: ClassList) -> dict[str, Any]:
    """What is published of a data set: `images`, how many it has, each an anchor with so many `frames` if these are
    given, `classes` if it has its own, the `source`, and `numbers`: the list that its labels number. Of one that is
    registered as a shift, the options.

    A class list of the user's own has ImageNet's facts, without the count, which is that of all its classes.
    """
    if classes.name in _files() and classes.name != "imagenet":
        return dict(_read(_FACTS / f"{classes.name}.json").get(data, {}))
    of_imagenet = {**options(data), **_read(_FACTS / "imagenet.json").get(data, {})}
    return {k: v for k, v in of_imagenet.items() if classes.name == "imagenet" or k not in ("images", "shown")}


def options(data: str) -> Mapping[str, Any]:
    """Those of a data set that is registered as a shift, as `conditions.shifts` explains them; none of another."""
    return registry.find("shift", data).options if registry.knows("shift", data) else {}


@functools.cache
def _files() -> frozenset[str]:
    return frozenset(file.stem for file in _FACTS.glob("*.json"))


@functools.cache
def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
