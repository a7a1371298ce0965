"""A classifier over the classes of a data set."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.models.classifier import Classifier


class Projected(Classifier):
    """A classifier over the classes of a data set."""

    def __init__(self, inner: Classifier, space: ClassSpace) -> None:
        nn.Module.__init__(self)
        self.inner, self.space = inner, space
        self.classes = ClassList(space.name, space.keys, space.keys)
        self.eval()

    def __getattr__(self, name: str) -> Any:
        """Name, resolution, preprocessing and whatever else a classifier has are those of the model inside."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def in_fp32(self) -> Classifier:
        exact = self.inner.in_fp32()
        return self if exact is self.inner else Projected(exact, self.space)

    def forward(self, images: Tensor) -> Tensor:
        return self.space.project(self.inner(images))


def restrict_logits(classifier: Classifier, space: ClassSpace | None) -> Classifier:
    """The same model with one logit a class of the data set, for predictions and for attacks alike.

    Without a space, and where it is the model's own list, the classifier itself.
    """
    if space is None or space.is_all_of(classifier.classes):
        return classifier
    return Projected(classifier, space)
