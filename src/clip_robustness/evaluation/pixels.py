"""From an image on disk to the pixels that a model sees under a condition, kept in memory for what follows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.conditions.kept import Kept, geometry_key, pixels_key
from clip_robustness.conditions.kind import load
from clip_robustness.conditions.source import Source
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.datasets.pixels import Pixels, squeezed
from clip_robustness.models.classifier import Classifier


@dataclass
class PixelSource:
    """Pixels of a condition's images. Clean images are kept for the conditions that follow, changed ones for the other
    models under the same condition, so that an image is decoded and corrupted once in a run, as far as memory goes."""

    seed: int
    kept: Kept
    frost_textures: Sequence[Texture] | None = None

    def of(self, condition: Condition, classifier: Classifier) -> Callable[[Sample], Pixels]:
        """A function from a sample to uint8 RGB (side, side, 3), or (frames, side, side, 3) for a sequence.

        It raises `OSError` for an image that can't be decoded. Threads may call it.
        """
        self.kept.begin(condition)
        side, known, makes = classifier.image_size, self.clean(classifier), condition.kind.pixels
        if not makes:
            return known
        make, key = load(makes), _key(classifier, condition)

        def changed(sample: Sample) -> Pixels:
            rng = image_rng(self.seed, condition.random_name, sample.id)
            made: Pixels = make(Source(sample, condition, side, lambda: known(sample), rng, self.frost_textures))
            return made

        return lambda sample: self._once(key(sample), lambda: changed(sample))

    def holds(self, condition: Condition, classifier: Classifier) -> Callable[[Sample], bool]:
        """Whether the function that `of` returns has nothing to do for a sample but look into memory."""
        key = _key(classifier, condition if condition.kind.pixels else None)

        def held(sample: Sample) -> bool:
            with suppress(OSError):  # its file is gone
                return self.kept.get(key(sample)) is not None
            return False

        return held

    def clean(self, classifier: Classifier) -> Callable[[Sample], Pixels]:
        """The same for images as they are."""
        key = _key(classifier)

        def clean(sample: Sample) -> Pixels:
            image = sample.image()
            if sample.cropped and image.width == image.height:
                return squeezed(image, classifier.image_size)
            return np.asarray(classifier.geometry(image))

        return lambda sample: self._once(key(sample), lambda: clean(sample), clean=True)

    def _once(self, key: Hashable, make: Callable[[], Pixels], *, clean: bool = False) -> Pixels:
        if (known := self.kept.get(key)) is not None:
            return known
        pixels = make()
        self.kept.put(key, pixels, clean=clean)
        return pixels


def _key(classifier: Classifier, condition: Condition | None = None) -> Callable[[Sample], Hashable]:
    """Under which the pixels of a sample are kept; clean ones without a condition."""
    known = condition, geometry_key(classifier.geometry), classifier.image_size
    return lambda sample: (*pixels_key(sample), *known)
