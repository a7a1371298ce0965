"""The models of a run: each looked at once for each list of classes, with what was warned of and what results say.

What is remembered of one stands for it until images are to pass.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.doing import doing
from clip_robustness.errors import InputError, ModelWarning
from clip_robustness.evaluation.machine import Machine
from clip_robustness.models.registry import builder_of, code_version
from clip_robustness.models.remembered import Facts, Model, Record, facts_of
from clip_robustness.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from clip_robustness.models.classifier import Classifier


class LoadedModels:
    """Over the classes of a suite, a name or a file, unless others are asked for. With `verify` nothing that is
    remembered counts: files are read, and what is another model than was remembered is warned of."""

    def __init__(self, classes: str, machine: Machine, device_option: str, *, verify: bool = False) -> None:
        self._suites_classes, self._machine, self._option, self._verify = classes, machine, device_option, verify
        self._models: dict[tuple[str, str], Model] = {}
        self._records: dict[tuple[str, str], Record] = {}

    @cached_property
    def classes(self) -> ClassList:
        return class_list(self._suites_classes)

    @cached_property
    def device(self) -> torch.device:
        """Made ready, as `models.device.set_up_device` does."""
        from clip_robustness.models.device import set_up_device

        return set_up_device(self._option)

    def model(self, spec: ModelSpec, classes: ClassList | None = None) -> Model:
        """Over the suite's classes, or, which only zero-shot models can, over others. Raises `InputError` as
        `models.load` does."""
        key = (spec.text, classes.name if classes else "")
        if key not in self._models:
            over = classes or self.classes
            record = self._records[key] = Record(spec, over, self._machine.device_type)
            remembered = record.read()
            if remembered and not self._verify:
                code, load = code_version(builder_of(spec)), lambda: self._load(spec, over)[0]
                self._models[key] = Model(spec.text, code, over, remembered, load)
            else:
                self._models[key] = self._read(spec, over, record, remembered)
        return self._models[key]

    def _read(self, spec: ModelSpec, classes: ClassList, record: Record, remembered: Facts | None) -> Model:
        classifier, said = self._load(spec, classes)
        facts = facts_of(classifier, said)
        if remembered and remembered.fingerprint != facts.fingerprint:
            changed = f"{spec}: its files look unchanged, but hold another model than when they were read before"
            facts = replace(facts, warnings=(*facts.warnings, changed))
        if not classifier.elsewhere:
            record.write(facts)
        return Model(spec.text, classifier.code, classes, facts, lambda: classifier)

    def _load(self, spec: ModelSpec, classes: ClassList) -> tuple[Classifier, list[str]]:
        """With what was warned of."""
        from clip_robustness import models

        with doing(f"loading {spec}"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ModelWarning)
            try:
                classifier = models.load(spec, classes, self.device)
            except InputError as error:  # what was warned of may be why
                said = [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]
                raise type(error)("; ".join([str(error), *said])) from error
        ours = [w for w in caught if issubclass(w.category, ModelWarning)]
        for other in (w for w in caught if w not in ours):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        return classifier, [str(w.message) for w in ours]

    def flags(self, spec: ModelSpec) -> dict[str, float]:
        """What would make its figures under attack doubtful, 1 where it is so, else 0."""
        model = self.model(spec)
        if model.facts.flags is None:
            from clip_robustness.models.flags import flags

            found = {name: float(up) for name, up in flags(model.loaded).items()}
            model.facts = replace(model.facts, flags=found)
            if not model.loaded.elsewhere:
                self._records[spec.text, ""].write(model.facts)
        assert model.facts.flags is not None
        return dict(model.facts.flags)

    def described(self, spec: ModelSpec, role: str) -> dict[str, Any]:
        """What results.json says of a model."""
        model = self.model(spec)
        facts = model.facts
        return {
            "model": spec.text,
            "role": role,
            "spec": spec.written,
            "fingerprint": facts.fingerprint,
            "weights": facts.weights,
            "image_size": facts.image_size,
            "mean": list(facts.mean),
            "std": list(facts.std),
            "interpolation": facts.interpolation,
            "crop": facts.crop,
            "classes": len(model.classes),
            "prompts": facts.prompts,
            "precision": facts.precision,
            "device": self._machine.device,
            "warnings": list(facts.warnings),
        }
