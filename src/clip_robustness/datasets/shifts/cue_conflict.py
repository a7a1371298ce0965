"""Cue conflict: the shape of one picture in the texture of another."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset, read_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.errors import InputError
from clip_robustness.registry import shift


@shift("cue-conflict", conditions={}, cropped=True, tables=False, clustered=True)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`<shape>/<shape><n>-<texture><n>.png` (Geirhos et al. 2019): the label is the shape, the rival the texture.

    Images of one shape picture belong together, and so do those of one texture picture.
    """
    images, label_of = read_folder(data, Path(place), classes, space), {key: i for i, key in enumerate(space.keys)}
    samples = []
    for sample in images.samples:
        named = re.fullmatch(r"(.+?)\d+-(.+?)\d+", sample.path.stem)
        pictures = tuple(sample.path.stem.split("-"))
        if not named or label_of.get(named[1]) != sample.label or named[2] not in label_of:
            raise InputError(
                f"data set '{data}': {sample.path} should be called <shape><number>-<texture><number>, with the shape "
                f"of its folder and a texture among {', '.join(space.keys[:3])}, ..."
            )
        samples.append(replace(sample, rival=label_of[named[2]], clusters=pictures))
    return replace(images, samples=tuple(samples))
