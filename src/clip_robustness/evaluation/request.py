"""What an evaluator is asked. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets.dataset import Dataset, Sample

if TYPE_CHECKING:
    from clip_robustness.models.classifier import Classifier
    from clip_robustness.models.remembered import Model

    AnyModel: TypeAlias = Classifier | Model
    """A loaded one, or what is remembered of one."""


@dataclass(frozen=True)
class EvalRequest:
    """A model under a condition on images; `surrogate` is as in `Evaluator`. `cell` is its name in the store, `stamps`
    are those of the image files by id, as they were at first sight; who has none is left out."""

    classifier: AnyModel
    condition: Condition
    images: Dataset
    surrogate: AnyModel | None
    cell: str
    stamps: Mapping[str, str]

    @cached_property
    def by_id(self) -> Mapping[str, Sample]:
        return {sample.id: sample for sample in self.images.samples}
