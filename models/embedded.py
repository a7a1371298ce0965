"""The embedded default: a small world of drawn objects, and two models trained on it."""

from dataclasses import replace
from pathlib import Path

from clip_robustness.models.spec import ModelSpec

FOLDER = Path(__file__).parents[1] / "mini"
CLIP_ARCHITECTURE, CLIP_WEIGHTS = "mini-clip", FOLDER / "clip.safetensors"
SUPERVISED_ARCHITECTURE, SUPERVISED_WEIGHTS = "test_resnet", FOLDER / "supervised.safetensors"
FILTER_ARCHITECTURE, FILTER_WEIGHTS = "test_efficientnet", FOLDER / "filter.safetensors"
SIZE = 64
"""Side of a picture in pixels."""
FILTERED = FOLDER / "filtered.json"
"""Which pictures of imagenet-a's counterpart the filter model gets wrong: those that the set is made of."""


def inner(spec: ModelSpec) -> ModelSpec:
    """The spec of the library and the file behind `mini:clip`, `mini:supervised` or `mini:filter`."""
    if spec.name == "clip":
        return replace(spec, kind="open_clip", name=CLIP_ARCHITECTURE, file=CLIP_WEIGHTS)
    if spec.name == "filter":
        return replace(spec, kind="timm", name=FILTER_ARCHITECTURE, file=FILTER_WEIGHTS)
    return replace(spec, kind="timm", name=SUPERVISED_ARCHITECTURE, file=SUPERVISED_WEIGHTS)
