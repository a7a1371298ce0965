"""Lists of classes: what a model's logits stand for, and what a data set's folders are called."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from models.errors import InputError, nearest


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of the logits: `keys` are stable ids (wnids for ImageNet), `names` are what prompts say."""

    name: str
    keys: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)


def _imagenet() -> ClassList:
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data.imagenet_info import ImageNetInfo

    return ClassList("imagenet", tuple(ImageNetInfo("imagenet-1k").label_names()), tuple(IMAGENET_CLASSNAMES))


def _mini() -> ClassList:
    from models.mini.world import CLASSES

    return ClassList("mini", tuple(f"m{i:08d}" for i in range(len(CLASSES))), CLASSES)


_LISTS = {"imagenet": _imagenet, "mini": _mini}
CLASS_LISTS = tuple(_LISTS)


@functools.cache
def class_list(name: str) -> ClassList:
    """`imagenet` (1000 wnids with the names that open_clip prompts with) or `mini` (the drawn world)."""
    if name not in _LISTS:
        raise InputError(f"class list '{name}' is unknown; {nearest(name, _LISTS)}")
    return _LISTS[name]()
