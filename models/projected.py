"""A classifier over the classes of a data set."""

from __future__ import annotations

from torch import Tensor

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.wrapped import Wrapped


class Projected(Wrapped):
    """A classifier over the classes of a data set."""

    def __init__(self, inner: Classifier, space: ClassSpace) -> None:
        super().__init__(inner)
        self.space = space
        self.classes = ClassList(space.name, space.keys, space.keys)

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
