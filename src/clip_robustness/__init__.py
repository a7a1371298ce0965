"""Robustness of zero-shot CLIP models, measured against supervised ImageNet models.

What is named here is the public interface. It is imported when it is asked for: `import clip_robustness` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_robustness.api import evaluate, list_conditions, load_dataset, load_model, read_results
    from clip_robustness.registry import attack, condition, corruption, dataset, figure, limit, model, shift

__all__ = [
    "attack",
    "condition",
    "corruption",
    "dataset",
    "evaluate",
    "figure",
    "limit",
    "list_conditions",
    "load_dataset",
    "load_model",
    "model",
    "read_results",
    "shift",
]
_REGISTRATION = ("attack", "condition", "corruption", "dataset", "figure", "limit", "model", "shift")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'clip_robustness' has no attribute '{name}'")
    module = "clip_robustness.registry" if name in _REGISTRATION else "clip_robustness.api"
    return getattr(importlib.import_module(module), name)
