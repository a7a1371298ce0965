"""Where near-duplicates end: limits between synthetic copies of test images and look-alikes that are none.

Look-alikes get closer the more pre-training images there are, so they are best taken from these. With pixels at hand
they are: a mirrored test image has the same kind of neighbours as the image itself, but hardly a copy among them, since
pixels are compared as they lie. What passes for a copy of a mirrored image is counted as a mistake; a picture that is
its own mirror image makes that count too high, never too low. Embeddings don't tell left from right: where they are all
there is, the nearest other test images take that place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_robustness.datasets.dataset import Dataset, Sample, image_rng, subsample
from clip_robustness.errors import InputError
from clip_robustness.models.features import Encoder, Vectors
from clip_robustness.overlap.alike import Small, alike, copies
from clip_robustness.overlap.embeddings import embed
from clip_robustness.overlap.found import Calibration

Scores = NDArray[np.float64]

COPIED = 100
"""Images of a data set that a copy of each kind is made of."""
MIRRORED = 480
"""Images of a data set that are also looked for in a mirror."""
OTHERS = 4000
"""Images of a data set whose nearest others are taken for look-alikes where there are no pixels."""
MISSED = 0.01
"""Of the copies, by the cosine where it only chooses whose pixels are compared, and by the lowest limit of these."""
MISTAKEN = 0.02
"""Of the images that count as overlapping."""


@dataclass(frozen=True)
class Copied:
    """How close synthetic copies are to what they were made of, float64 (n,) each, in the order of the images."""

    cosine: Scores
    alike: Scores

    @property
    def cosine_limit(self) -> float:
        """Where the cosine only chooses whose pixels are compared."""
        return float(np.quantile(self.cosine, MISSED))


def to_copy(images: Dataset, vectors: Mapping[str, Vectors]) -> list[Sample]:
    """Images that can be decoded, class by class, of a video set anchors. Raises `InputError` for less than eight."""
    anchors = {anchor.id for anchor in images.anchors}
    found = [i for i in subsample(images, COPIED, 0).samples if i.id in vectors and (i.id in anchors or not anchors)]
    if len(found) < 8:
        raise InputError(f"data set '{images.name}': {len(found)} images are too few to calibrate a limit on")
    return _halved(found)


def to_mirror(images: Dataset, vectors: Mapping[str, Vectors]) -> list[Sample]:
    """Images that can be decoded, from all over the data set."""
    found = [sample for sample in images.samples if sample.id in vectors]
    return _halved(found[:: -(-len(found) // MIRRORED)])


def others(images: Dataset, vectors: Mapping[str, Vectors]) -> Vectors:
    """Embeddings of images that are no copies of each other, (n, width): of a video set its anchors."""
    anchors = {anchor.id for anchor in images.anchors}
    found = [i for i in images.samples if i.id in vectors and (i.id in anchors or not anchors)]
    return np.stack([vectors[sample.id] for sample in _halved(found[:: -(-len(found) // OTHERS)])])


def _halved(samples: Sequence[Sample]) -> list[Sample]:
    """In an order in which both halves have images of all classes."""
    return [*samples[::2], *samples[1::2]]


def copied(samples: Sequence[Sample], vectors: Mapping[str, Vectors], encoder: Encoder) -> Copied:
    """Copies of each kind of each image, compared with it. `vectors` are the images' embeddings by id, (width,)."""
    made = [
        (sample, copy)
        for sample in samples
        for copy in copies(sample.image(), image_rng(0, "near-duplicate", sample.id))
    ]
    originals = {sample.id: Small(sample.image()) for sample in samples}
    embedded = [part for _, part, _ in embed(((sample.id, copy.copy) for sample, copy in made), encoder)]
    pairs = zip(made, np.concatenate(embedded), strict=True)
    return Copied(
        np.array([vectors[sample.id] @ vector for (sample, _), vector in pairs], float),
        np.array([alike(originals[sample.id], Small(copy)) for sample, copy in made], float),
    )


def by_pixels(found: Copied, mirrored: Scores, asked: Scores) -> Calibration:
    """`mirrored`, (n,), and `asked`, (m,): how alike the closest pre-training image is to each image in a mirror, and
    to each image as it is; -1 where none is close by its cosine.

    The limit is the lowest one at which at most 2% of the images that would count as overlapping are so by mistake, if
    they are mistaken as often as those in a mirror; but not so low that it finds more than 99% of the copies.
    """

    def limit(copies: Scores, others: Scores) -> float:
        floor = float(np.quantile(copies, MISSED))
        for candidate in [floor, *np.sort(asked[asked > floor])]:
            mistaken = (others >= candidate).mean() * len(asked)
            if mistaken <= MISTAKEN * (asked >= candidate).sum():
                return float(candidate)
        return float(np.nextafter(others.max(), 2))

    close = found.cosine >= found.cosine_limit
    chosen, *counts = _crossed(limit, np.where(close, found.alike, -1.0), mirrored)
    return Calibration(found.cosine_limit, chosen, *counts)


def by_cosine(found: Copied, vectors: Vectors) -> Calibration:
    """`vectors`, (n, width): of images whose nearest others are the look-alikes.

    The limit lies in the middle between copies and look-alikes, or where it separates them best.
    """
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    chosen, *counts = _crossed(best_limit, found.cosine, cosines.max(1).astype(float))
    return Calibration(chosen, None, *counts)


def _crossed(
    limit: Callable[[Scores, Scores], float], positive: Scores, negative: Scores
) -> tuple[float, int, int, int, int]:
    """The limit for all scores, and how many of either pass one that was chosen on the other half of them."""
    found, mistaken = 0, 0
    positives, negatives = np.array_split(positive, 2), np.array_split(negative, 2)
    for fit in (0, 1):
        chosen = limit(positives[fit], negatives[fit])
        found += int((positives[1 - fit] >= chosen).sum())
        mistaken += int((negatives[1 - fit] >= chosen).sum())
    return limit(positive, negative), len(positive), found, len(negative), mistaken


def best_limit(positive: Scores, negative: Scores) -> float:
    """That with the highest F1 if there were as many of the one as of the other; in the middle of the range where many
    have it."""
    scores = np.unique(np.concatenate([positive, negative]))
    between = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2])
    found = 1 - np.searchsorted(np.sort(positive), between) / len(positive)
    mistaken = 1 - np.searchsorted(np.sort(negative), between) / len(negative)
    f1 = 2 * found / (found + mistaken + 1)
    return float(between[f1 >= f1.max() - 1e-12].mean())
