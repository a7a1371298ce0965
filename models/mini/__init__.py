"""The embedded default: a small world of drawn objects, and two models trained on it."""

from pathlib import Path

FOLDER = Path(__file__).parent
CLIP_ARCHITECTURE, CLIP_WEIGHTS = "mini-clip", FOLDER / "clip.safetensors"
SUPERVISED_ARCHITECTURE, SUPERVISED_WEIGHTS = "test_resnet", FOLDER / "supervised.safetensors"
