"""Models that a worker holds for the tasks that follow, in one budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

from clip_robustness.models.classifier import Classifier


@dataclass
class Held:
    """Tasks ask for the same models in turn: of more than fit those that came first stay, so that each task finds them.
    Where the oldest gave way to the newest, none would be there when its turn comes. Those that the present task does
    not need give way."""

    limit_bytes: int
    _models: dict[Hashable, tuple[Classifier, int]] = field(default_factory=dict)

    def get(self, key: Hashable, fetch: Callable[[], Classifier], needed: Collection[Hashable]) -> Classifier:
        """The model of a key, which is one of those `needed` by the task; `fetch` gives it where it is not held."""
        if key in self._models:
            return self._models[key][0]
        model = fetch()
        size = sum(value.nbytes for value in (*model.parameters(), *model.buffers()))
        others = [other for other in self._models if other not in needed]
        while others and self._used + size > self.limit_bytes:
            del self._models[others.pop(0)]
        if self._used + size <= self.limit_bytes:
            self._models[key] = model, size
        return model

    @property
    def _used(self) -> int:
        return sum(size for _, size in self._models.values())
