"""Where models, data and the evaluator meet: what a run has loaded, and outcomes of it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clip_robustness.conditions import promises
from clip_robustness.conditions.condition import CLEAN, FROST, Condition, reference, wording
from clip_robustness.datasets import places
from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.errors import InputError, NotRunError
from clip_robustness.evaluation.costs import read_costs
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.images import MissingDataError, SampledImages
from clip_robustness.evaluation.loaded import LoadedModels
from clip_robustness.evaluation.machine import machine
from clip_robustness.evaluation.members import combined
from clip_robustness.evaluation.progress import Progress
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.ood import rejected
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.seeds import image_of, of_first_seed
from clip_robustness.metrics.video import over_anchors
from clip_robustness.metrics.wordings import worst_wording
from clip_robustness.mini import overlap as mini_overlap
from clip_robustness.models.device import worker
from clip_robustness.models.spec import ModelSpec
from clip_robustness.overlap.found import Found, Ids, read_ids
from clip_robustness.overlap.found import read as read_overlap
from clip_robustness.results import history

if TYPE_CHECKING:
    import torch

    from clip_robustness.evaluation.cluster import Cluster
    from clip_robustness.evaluation.doubt import Doubt
    from clip_robustness.evaluation.request import AnyModel
    from clip_robustness.models.classifier import Classifier
    from clip_robustness.models.worded import Worded

_UNREADABLE_ALLOWED = 0.01


class Measured(NamedTuple):
    """What came out of a cell: for the candidate, and for the baseline that it is compared with; and on which images,
    as it may have ended early."""

    ours: Outcomes
    theirs: Outcomes | None
    images: Dataset


@dataclass
class Session:
    """Loads each model and reads each data set once; `images` has those of a condition. `place` tells where a source
    under [data] lies."""

    settings: Settings
    watch: Callable[[Progress], None] | None = None
    place: Callable[[str], str] = places.folder

    def __post_init__(self) -> None:
        option, classes = self.settings.device, self.settings.suite.classes
        self.machine = machine(option, worker())
        self.models = LoadedModels(classes, self.machine, option, verify=self.settings.verify)
        excluded = self.settings.exclude_overlap
        ids = read_ids(excluded) if excluded else None
        self.images = SampledImages(self.settings, self.models, ids, self.place)
        self.measured: dict[Cell, Measured] = {}
        self._in_words: dict[tuple[ModelSpec, Condition], Worded] = {}
        self._on_clean: dict[tuple[ModelSpec, Condition], Outcomes] = {}
        self.doubts: dict[tuple[ModelSpec, Condition], Doubt] = {}
        self.cluster: Cluster | None = None

    @cached_property
    def evaluator(self) -> Evaluator:
        settings = self.settings
        return Evaluator(
            Store(settings.store_dir),
            device=self.machine.device,
            seed=settings.seed,
            batch_size=settings.batch_size,
            frost=settings.suite.source(FROST),
            verify=settings.verify,
            deadline=settings.deadline,
            watch=lambda progress: self.watch(progress) if self.watch else None,
        )

    @property
    def device(self) -> torch.device:
        """As `LoadedModels` has it."""
        return self.models.device

    def classifier(self, spec: ModelSpec, classes: ClassList | None = None) -> Classifier:
        """With its weights, over classes as `LoadedModels` has them."""
        return self.models.model(spec, classes).loaded

    def asked(self, spec: ModelSpec, condition: Condition) -> AnyModel:
        """The model as a condition asks it. Raises `MissingDataError` for one that has none of the classes."""
        if condition.kind.is_wording:
            return self._worded(spec, condition)
        if not condition.kind.all_names:
            return self.models.model(spec)
        try:
            return self.models.model(spec, self.images.every(condition.data, condition.part).classes)
        except MissingDataError:
            raise
        except InputError as error:
            raise MissingDataError(f"only a zero-shot model has all the classes: {error}") from None

    def _worded(self, spec: ModelSpec, condition: Condition) -> Worded:
        from clip_robustness.models.worded import worded
        from clip_robustness.models.wordings import Asked

        if (spec, condition) not in self._in_words:
            inner, classes = self.classifier(spec), self.models.classes
            if not hasattr(inner.net, "embed"):
                raise MissingDataError(f"only a zero-shot model can be asked in other words; {spec} is none")
            words = Asked(condition.name, *self.settings.suite.words(condition))
            self._in_words[spec, condition] = worded(inner, spec, classes, words, self.settings.seed)
        return self._in_words[spec, condition]

    def surrogate(self, spec: ModelSpec, condition: Condition) -> AnyModel | None:
        """What attacks by transfer are crafted on; for a caption, the model over it and a text that says nothing.

        Raises `MissingDataError` for a caption that a model can't read.
        """
        if condition.kind.crafted_on == "text":
            texts = (condition.text, "a photo")
            try:
                return self.models.model(_plainly(spec), ClassList(condition.name, texts, texts))
            except InputError as error:
                raise MissingDataError(f"only a zero-shot model can read a caption: {error}") from None
        if not condition.kind.crafted_on:
            return None
        if condition.kind.crafted_on == "wordings":
            return self._worded(spec, wording("templates"))
        if self.settings.surrogate is None:
            raise InputError(f"{condition.id}: no model to craft on; give --surrogate SPEC, or a supervised baseline")
        return self.models.model(self.settings.surrogate)

    def names(self, condition: Condition) -> Sequence[str]:
        """What a condition's labels are called."""
        images = self.images(condition)
        names, space = (images.classes or self.models.classes).names, images.space
        if space is None:
            return names
        return [names[m[0]] if len(m) == 1 else key for key, m in zip(space.keys, space.members, strict=True)]

    def without(self, ids: Ids) -> Session:
        """The same with the images of these ids, and no others, left out; what is loaded is shared."""
        other = copy.copy(self)
        other.images = self.images.without(ids)
        other.measured, other._on_clean, other.doubts = {}, {}, {}
        other.settings = replace(self.settings, stop_early=False)  # else the two would look at different images
        return other

    @cached_property
    def overlap(self) -> Found:
        """What is known of near-duplicates. The drawn world is analysed when this is asked for the first time."""
        suite = self.settings.suite
        assert suite.overlap is not None
        if suite.overlap != mini_overlap.PRETRAINING:
            return read_overlap(Path(suite.overlap))
        asked = dict.fromkeys(suite.data_of(c) for c in suite.conditions if c.kind.is_repeated)
        names = [name for name in asked if suite.source(name)]
        return mini_overlap.found([self.images.every(name, "") for name in names], lambda: self.device)

    def overlapping(self, data: str) -> frozenset[str]:
        """The ids of a data set's images that overlap. Raises `MissingDataError` where nobody looked."""
        if data not in self.overlap.data:
            raise MissingDataError(
                f"{self.settings.suite.overlap} does not say which images of {data} overlap with the pre-training set; "
                f"run clip-robustness overlap with --data {data}, too"
            )
        return self.overlap.ids[data]

    def check(self) -> None:
        """Find the run to compare with, load every model that is not remembered, list every data set that the suite
        names and open the store, so that mistakes show before hours are spent."""
        _ = self.before, read_costs(self.settings)  # the quickest come first
        for condition in promises.to_check(self.settings.suite.conditions):
            promises.check(condition, lambda: self.classifier(self.settings.candidates[0]))
        for condition in self.settings.suite.conditions:
            with suppress(MissingDataError):
                self.images(condition)
            for spec in self.settings.candidates:
                with suppress(MissingDataError):
                    self.asked(spec, condition)
                    self.surrogate(spec, condition)
        if (place := self.settings.suite.overlap) is not None and not place.startswith("mini:"):
            _ = self.overlap
        for spec in (*self.settings.candidates, *self.settings.supervised):
            self.models.model(spec)
        _ = self.evaluator

    def described_models(self) -> list[dict[str, Any]]:
        """What results.json says of the models."""
        by_role = {"candidate": self.settings.candidates, "supervised": self.settings.supervised}
        return [self.models.described(spec, role) for role, specs in by_role.items() for spec in specs]

    @cached_property
    def before(self) -> history.Run | None:
        """The recorded run to compare with."""
        settings = self.settings
        if settings.compare is None:
            return None
        return history.find(settings.history_dir, settings.compare, settings.suite.name)

    def correct(self, cell: Cell) -> history.CorrectImages:
        """What a model gets right of a cell, no mean over cells, as far as it was looked at."""
        known = self.measured.get(cell)
        ours = of_first_seed(known.ours if known else self.outcomes(cell.candidate, cell.condition))
        images = known.images if known else self.images(cell.condition)
        made_with, files = self.made_with(cell), sizes(ours, images)
        code = self.code(cell)
        wrong = tuple(ours.predictions[~ours.correct].tolist())
        return history.CorrectImages(
            cell.candidate.text, cell.condition.path, ours.ids, ours.correct, files, made_with, code, wrong
        )

    def code(self, cell: Cell) -> dict[str, str]:
        """The versions of the code that a cell's outcomes depend on, ours and the libraries': of the condition, and of
        what builds models of the candidate's kind; and of its data set, by whose reader and in which classes it is
        read. A user's own factory is part of the candidate."""
        version, _, kind = self.asked(cell.candidate, cell.condition).code.partition("@")
        of_kind = {} if kind.startswith("python:") else {kind: version}
        images = self.images(cell.condition)
        data = hashlib.sha256(repr((images.reader, images.space)).encode()).hexdigest()[:16]
        return {"condition": code_version(cell.condition), "data": data, **of_kind}

    def made_with(self, cell: Cell) -> str:
        """What the pixels of a cell depend on beside images, condition, seed, code and the model itself."""
        if members := cell.condition.members:
            return " ".join(self.made_with(replace(cell, condition=member)) for member in members).strip()
        on_surrogate = cell.condition.kind.crafted_on == "surrogate"
        surrogate = self.surrogate(cell.candidate, cell.condition) if on_surrogate else None
        return surrogate.fingerprint if surrogate else self.evaluator.made_with(cell.condition)

    def outcomes(self, spec: ModelSpec, condition: Condition, images: Dataset | None = None) -> Outcomes:
        """On all images of a condition, or on some; the clean ones, which others are compared with, stay known."""
        if not condition.kind.is_reference:
            return self._evaluated(spec, condition, images)
        if (spec, condition) not in self._on_clean:
            self._on_clean[spec, condition] = self._evaluated(spec, condition)
        return self._on_clean[spec, condition]

    def on_reference(self, spec: ModelSpec, condition: Condition) -> Outcomes:
        """On the clean images that a condition is compared with."""
        return self.outcomes(spec, reference(condition))

    def _evaluated(self, spec: ModelSpec, condition: Condition, images: Dataset | None = None) -> Outcomes:
        if condition.members:
            images = images or self.images(condition)
            of_members = partial(self._of_member, spec, condition, images)
            return _told_apart(combined(condition, of_members), images)
        elsewhere = self.cluster.wait(spec, condition) if self.cluster else 0.0
        classifier, _, everything, surrogate = self.question(spec, condition)
        images = images or everything
        outcomes = self.evaluator(classifier, condition, images, surrogate)
        outcomes = replace(outcomes, seconds=outcomes.seconds + elsewhere)
        if outcomes.unreadable:
            sentence = (
                f"data set '{images.name}': {len(outcomes.unreadable)} of {len(images)} images can't be decoded, or "
                f"changed during the run (first: {outcomes.fault or outcomes.unreadable[0]})"
            )
            if len(outcomes.unreadable) > _UNREADABLE_ALLOWED * len(images):
                raise InputError(f"{sentence}, more than {_UNREADABLE_ALLOWED:.0%}")
            outcomes = replace(outcomes, notes=(*outcomes.notes, sentence))
        outcomes = over_anchors(outcomes, images.anchors) if images.anchors else outcomes
        outcomes = _told_apart(outcomes, images)
        if condition.kind.rejects:
            return rejected(outcomes, self.on_reference(spec, condition).measures["confidence"])
        if condition.kind.is_wording:
            accepted = {sample.id: sample.accepted for sample in images.samples}
            names = self._worded(spec, condition).names
            outcomes = worst_wording(outcomes, [accepted[id] for id in outcomes.ids], names)
        return outcomes

    def _of_member(self, spec: ModelSpec, condition: Condition, images: Dataset, member: Condition) -> Outcomes:
        """Raises `InputError` naming the member where it is one."""
        try:
            return self.outcomes(spec, member, images)
        except NotRunError:
            raise
        except InputError as error:
            raise InputError(f"{condition.id}: its member {member.id} is an error: {error}") from None

    def question(self, spec: ModelSpec, condition: Condition) -> tuple[AnyModel, Condition, Dataset, AnyModel | None]:
        """What the evaluator is asked for a model under a condition. Raises `MissingDataError`."""
        images = self.images(condition)
        return self.asked(spec, condition), condition, images, self.surrogate(spec, condition)

    def reference_of(self, candidate: ModelSpec) -> ModelSpec | None:
        """The supervised baseline whose clean accuracy is closest to the candidate's: the benchmark's question is
        whether a candidate is as robust as a supervised model *of the same clean accuracy*."""
        baselines = self.settings.supervised
        if len(baselines) < 2:
            return baselines[0] if baselines else None
        own = self.on_reference(candidate, CLEAN).correct.mean()
        return min(baselines, key=lambda spec: abs(self.on_reference(spec, CLEAN).correct.mean() - own))


def _plainly(spec: ModelSpec) -> ModelSpec:
    """The same model, asked for texts as they are."""
    return replace(spec, options=replace(spec.options, prompts="as-is", class_names=None))


def _told_apart(outcomes: Outcomes, images: Dataset) -> Outcomes:
    """With what the images share with each other: clusters and groups. Seeds of one image belong together, too."""
    by_id = {sample.id: sample for sample in images.samples}
    seen = [by_id[image_of(id)] for id in outcomes.ids]
    groups = tuple(sample.groups for sample in seen) if any(sample.groups for sample in seen) else ()
    clusters = [sample.clusters or ((sample.id,) if outcomes.seeds > 1 else ()) for sample in seen]
    return replace(outcomes, clusters=Clusters.of(clusters), groups=groups)


def clusters_of(ids: Sequence[str], images: Dataset) -> Clusters | None:
    """Which of some images belong together."""
    known = {sample.id: sample.clusters for sample in images.samples}
    return Clusters.of([known[id] for id in ids])


def sizes(outcomes: Outcomes, images: Dataset) -> tuple[int, ...]:
    """Of the files, in bytes, in the order of the outcomes: an image that was replaced is another one."""
    files = {sample.id: sample.path for sample in images.samples}
    return tuple(files[id].stat().st_size for id in outcomes.ids)
