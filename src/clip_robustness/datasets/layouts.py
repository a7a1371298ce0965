"""Where a data set lies, if not in the folder that the suite names but in one near it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clip_robustness.datasets.listing import IMAGES, is_hidden
from clip_robustness.errors import InputError

_LEVELS, _FOLDERS = 5, 64
"""How deep, and how many folders of a level, are looked into for a hint."""
_UNPACKED = ("val", "validation")
"""What the folder of ImageNet's validation images is called."""


def part_of(name: str, folder: Path, part: str) -> Path:
    """The folder of a condition, `fog/1`, also a level deeper, as ImageNet-C's archives are called: `weather/fog/1`.

    Raises `InputError` where two have it, and where another folder of the suite would.
    """
    if not part or (folder / part).is_dir():
        return folder / part
    deeper = [place / part for place in folders(folder) if (place / part).is_dir()]
    if len(deeper) > 1:
        raise InputError(f"data set '{name}': {deeper[0]} and {deeper[1]} could both be meant; remove one of them")
    if deeper:
        return deeper[0]
    for place in (folder.parent, *folders(folder)):
        if any((one / part).is_dir() for one in (place, *folders(place))):
            raise InputError(f"data set '{name}': {folder} has no folder {part}; name {place} in the suite")
    return folder / part


def images_of(name: str, folder: Path) -> Path:
    """The folder `images` of ObjectNet. Raises `InputError` naming the folder that has it."""
    if (folder / "images").is_dir():
        return folder / "images"
    near = (place for place in (folder.parent, *folders(folder)) if (place / "images").is_dir())
    place = next(near, "the folder above it")
    raise InputError(f"data set '{name}': {folder} has no folder 'images'; name {place} in the suite")


def hint(name: str, folder: Path, are_classes: Callable[[list[str]], bool]) -> str:
    """What to write where class folders, or images without them, lie deeper; '' where none are found."""
    level = [folder]
    for _ in range(_LEVELS):
        inside = {place: folders(place)[:_FOLDERS] for place in level[:_FOLDERS]}
        for place, below in inside.items():
            if place != folder and are_classes([one.name for one in below]):
                return f"; its class folders are in {place}, name that in the suite"
        for place, below in inside.items():
            if (place.name in _UNPACKED or (place == folder and not below)) and _has_images(place):
                table = f'{name} = "flat:{place}?labels=LOC_val_solution.csv"'
                return f"; images without class folders need a table of files and classes, such as {table}"
        level = [one for below in inside.values() for one in below if one.name != "train"]
    return ""


def _has_images(place: Path) -> bool:
    return any(one.name.lower().endswith(IMAGES) and not is_hidden(one.name) for one in place.iterdir())


def folders(place: Path) -> list[Path]:
    """Those in it that are not hidden, by name."""
    try:
        return sorted(one for one in place.iterdir() if one.is_dir() and not is_hidden(one.name))
    except OSError:
        return []
