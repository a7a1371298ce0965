"""A classifier around another one."""

from __future__ import annotations

from typing import Any

from torch import nn

from clip_robustness.models.classifier import Classifier


class Wrapped(Classifier):
    """Whatever a classifier has beside what it says itself, name, resolution and preprocessing, is that of `inner`."""

    def __init__(self, inner: Classifier) -> None:
        nn.Module.__init__(self)
        self.inner = inner
        self.eval()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)
