"""The images of a run: of each data set those that a condition is asked on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets import load
from clip_robustness.datasets.dataset import Dataset, subsample, without
from clip_robustness.datasets.subsets import only
from clip_robustness.doing import doing
from clip_robustness.errors import InputError, NotRunError
from clip_robustness.evaluation.loaded import LoadedModels
from clip_robustness.evaluation.settings import Settings
from clip_robustness.overlap.found import Ids


class MissingDataError(NotRunError):
    """The suite names no place for a data set: its cells are not run."""


class SampledImages:
    """Of a suite's data sets, each read once, without those that `excluded` lists; a set that it does not name is
    warned of. None: nothing is left out. `place` tells where a source lies."""

    def __init__(
        self, settings: Settings, models: LoadedModels, excluded: Ids | None, place: Callable[[str], str]
    ) -> None:
        self._settings, self._models, self._place = settings, models, place
        self._excluded: Ids = excluded or {}
        self._all_should_be_named = excluded is not None
        self._data: dict[tuple[str, str], Dataset] = {}
        self._sampled: dict[tuple[object, ...], Dataset] = {}

    def __call__(self, condition: Condition) -> Dataset:
        """The sampled images of a condition, labelled in its classes.

        Raises `MissingDataError` where the suite does not say where they are, and `InputError` where images have
        several labels under an attack that leads away from one alone: as it is crafted once for all images, or on the
        heads of wordings.
        """
        counts = [count for count in (self._settings.samples, condition.samples) if count is not None]
        data = self._settings.suite.data_of(condition)
        key = (data, condition.part, condition.classes_of, *counts)
        if key not in self._sampled:
            chosen = partial(subsample, count=min(counts, default=None), seed=self._settings.seed)
            images = self.every(data, condition.part)
            if condition.data == condition.classes_of:
                images = chosen(images)
            else:
                name = condition.classes_of
                space = load.space_of(name, self._source(name), self._models.classes)
                images = load.relabelled(space, chosen(load.only_classes_of(space, images)))
            if data in self._excluded:
                images = self._clean(data, images)
            elif self._all_should_be_named:
                said = f"data set '{data}': --exclude-overlap does not name it, all of its images stay"
                images = replace(images, warnings=(*images.warnings, said))
            self._sampled[key] = images
        images = self._sampled[key]
        from_one = condition.kind.craft_set or condition.kind.crafted_on == "wordings"
        if from_one and (several := [sample.id for sample in images.samples if sample.also]):
            raise InputError(
                f"data set '{images.name}': {len(several)} of {len(images)} images have several labels (first: "
                f"{several[0]}), and {condition.name} leads away from one; give it a clean reference with a label an "
                "image"
            )
        return images

    def without(self, ids: Ids) -> SampledImages:
        """The same with the images of these ids, and no others, left out; what is read is shared."""
        other = copy.copy(self)
        other._excluded, other._sampled, other._all_should_be_named = ids, {}, False
        return other

    def every(self, name: str, part: str) -> Dataset:
        """All images of a data set, or of a part of it, in its own classes. Raises `MissingDataError`."""
        if (name, part) not in self._data:
            rules = self._settings.suite.clusters(name), self._settings.suite.groups(name)
            with doing(f"listing the images of {name}"):
                images = load.load(name, self._source(name), self._models.classes, part, *rules)
            self._data[name, part] = only(images, self._settings.suite.settings.subset)
        return self._data[name, part]

    def _clean(self, data: str, images: Dataset) -> Dataset:
        """Raises `InputError` where the ids are those of another copy of the data set, or of all of the images."""
        ids = self._excluded[data]
        every = {sample.id for known, found in self._data.items() if known[0] == data for sample in found.samples}
        every |= {sample.id for sample in images.samples}
        if ids and not ids & every:
            raise InputError(
                f"data set '{data}': none of the {len(ids)} overlapping images is in it (first: {min(ids)}); "
                "look for overlap in this copy of it"
            )
        clean = without(images, ids)
        if not clean.samples:
            raise InputError(f"data set '{data}': all {len(images)} images overlap with the pre-training set")
        return clean

    def _source(self, name: str) -> str:
        suite = self._settings.suite
        source = suite.source(name)
        if source is None:
            raise MissingDataError(f'no data: add {name} = "/path/to/{name}" under [data] in {suite.file}')
        return self._place(source)
