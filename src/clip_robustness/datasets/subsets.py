"""Named subsets of ImageNet's validation set, of which others have published figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from clip_robustness.datasets.dataset import Dataset
from clip_robustness.errors import InputError

_FOLDER = Path(__file__).parent / "data"
SUBSETS = ("robustbench-5000",)
_OF = ("imagenet", "imagenet-c")
"""The data sets whose files are called as those of the validation set."""


@cache
def ids_of(subset: str) -> frozenset[str]:
    """`<wnid>/ILSVRC2012_val_<number>.JPEG`, as an image folder calls them."""
    return frozenset(_ids((_FOLDER / f"{subset}.txt").read_text(encoding="utf-8")))


def _ids(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            wnid, *numbers = line.split()
            yield from (f"{wnid}/ILSVRC2012_val_{int(number):08d}.JPEG" for number in numbers)


def only(images: Dataset, subset: str | None) -> Dataset:
    """The images of a subset, with a warning where some are missing; all of a set that it is no part of. Raises
    `InputError` where it has none."""
    if not subset or images.name not in _OF:
        return images
    ids = ids_of(subset)
    chosen = tuple(sample for sample in images.samples if sample.id in ids)
    if not chosen:
        first = images.samples[0].id if images.samples else "none"
        raise InputError(
            f"data set '{images.name}': none of the {len(ids)} images of subset '{subset}' is in it; they are called "
            f"{min(ids)}, its own {first}"
        )
    said = f"data set '{images.name}': subset '{subset}': {len(chosen)} of its {len(ids)} images are there"
    warnings = (*images.warnings, *([said] if len(chosen) < len(ids) else []))
    return replace(images, samples=chosen, warnings=warnings)
