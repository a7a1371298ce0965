"""The models of a run: each loaded once for each list of classes, with what was warned of and what results say."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch

from clip_robustness import models
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.errors import InputError, ModelWarning
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.flags import flags
from clip_robustness.models.spec import ModelSpec


class LoadedModels:
    """Over the classes of a suite, a name or a file, unless others are asked for."""

    def __init__(self, classes: str, device: torch.device) -> None:
        self._suites_classes, self._device = classes, device
        self._classifiers: dict[tuple[str, str], Classifier] = {}
        self._warnings: dict[tuple[str, str], list[str]] = {}
        self._flags: dict[ModelSpec, dict[str, float]] = {}

    @cached_property
    def classes(self) -> ClassList:
        return class_list(self._suites_classes)

    def classifier(self, spec: ModelSpec, classes: ClassList | None = None) -> Classifier:
        """A model over the suite's classes, or, which only zero-shot models can, over others."""
        key = (spec.text, classes.name if classes else "")
        if key not in self._classifiers:
            classes = classes or self.classes
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ModelWarning)
                try:
                    self._classifiers[key] = models.load(spec, classes, self._device)
                except InputError as error:  # what was warned of may be why
                    said = [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]
                    raise type(error)("; ".join([str(error), *said])) from error
            ours = [w for w in caught if issubclass(w.category, ModelWarning)]
            self._warnings[key] = [str(w.message) for w in ours]
            for other in (w for w in caught if w not in ours):
                warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        return self._classifiers[key]

    def flags(self, spec: ModelSpec) -> dict[str, float]:
        """What would make its figures under attack doubtful, 1 where it is so, else 0."""
        if spec not in self._flags:
            self._flags[spec] = {name: float(up) for name, up in flags(self.classifier(spec)).items()}
        return self._flags[spec]

    def described(self, spec: ModelSpec, role: str) -> dict[str, Any]:
        """What results.json says of a model."""
        classifier = self.classifier(spec)
        return {
            "model": spec.text,
            "role": role,
            "spec": spec.written,
            "fingerprint": classifier.fingerprint,
            "weights": classifier.weights,
            "image_size": classifier.image_size,
            "mean": [round(value, 6) for value in classifier.mean.flatten().tolist()],
            "std": [round(value, 6) for value in classifier.std.flatten().tolist()],
            "interpolation": classifier.interpolation,
            "crop": classifier.crop,
            "classes": len(classifier.classes),
            "prompts": classifier.prompts,
            "precision": classifier.precision,
            "device": str(self._device),
            "warnings": self._warnings[spec.text, ""],
        }
