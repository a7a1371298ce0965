"""Drawn counterparts of test sets beyond the benchmark, written in the published layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from clip_robustness.mini.world import CLASSES, draw, sample_scene, with_words

_ANIMALS = ("butterfly", "fish")
_USUAL, _UNUSUAL = "grass", "night"
_OF_A_GROUP, _NOTES = 60, 240


def _write_counteranimal(folder: Path) -> None:
    """`<number> <name>/common-grass/*.png` and `.../counter-night/*.png`. No pair of the pre-training set ties an
    animal to a background: there is no gap to be found."""
    for label in map(CLASSES.index, _ANIMALS):
        for group, background in (("common", _USUAL), ("counter", _UNUSUAL)):
            inside = folder / f"{label} {CLASSES[label]}" / f"{group}-{background}"
            inside.mkdir(parents=True)
            for index in range(_OF_A_GROUP):
                rng = np.random.default_rng([3, label, index, group == "common"])
                scene = replace(sample_scene(rng, label), background=background)
                Image.fromarray(draw(scene, rng)).save(inside / f"{index:03d}.png")


def _write_rta_100(folder: Path) -> None:
    """`label=<object>_text=<word>.png`, of pairs of classes."""
    folder.mkdir(parents=True)
    pairs = list(permutations(range(len(CLASSES)), 2))
    for index in np.random.default_rng(4).permutation(len(pairs))[:_NOTES].tolist():
        (label, word), rng = pairs[index], np.random.default_rng([4, index])
        scene = with_words(sample_scene(rng, label), CLASSES[word])
        Image.fromarray(draw(scene, rng)).save(folder / f"label={CLASSES[label]}_text={CLASSES[word]}.png")


def _write_ood(folder: Path) -> None:
    """`words/*.png`: pictures of words alone, and `grounds/*.png`, of a background with nothing in front of it."""
    for index in range(_OF_A_GROUP):
        rng = np.random.default_rng([5, index])
        nothing = replace(sample_scene(rng, 0), label=None)
        for name, scene in (("words", with_words(nothing, str(rng.choice(CLASSES)))), ("grounds", nothing)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(scene, rng)).save(folder / name / f"{index:03d}.png")


WRITERS: dict[str, Callable[[Path], None]] = {
    "counteranimal": _write_counteranimal,
    "rta-100": _write_rta_100,
    "ood": _write_ood,
}
