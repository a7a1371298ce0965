"""Known checkpoints whose weights are in the caches of this machine, so that nothing need be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from clip_robustness.suites.figures import Figures

_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip looks for on the hub."""


def cached(figures: Figures) -> list[str]:
    """Specs of the known checkpoints in the caches of the hub and of torch, the smallest files first, zero-shot and
    supervised ones in turn."""
    found = sorted((file.stat().st_size, spec) for spec, file in _files(figures))
    zero_shot, supervised = (
        [spec for _, spec in found if spec.startswith("open_clip:") == clip] for clip in (True, False)
    )
    turns = [*enumerate(zero_shot), *enumerate(supervised)]
    return [spec for _, spec in sorted(turns, key=lambda turn: turn[0])]


def _files(figures: Figures) -> Iterator[tuple[str, Path]]:
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg
    from torch import hub
    from torchvision.models import get_model_weights

    for model in figures.models:
        kind, _, rest = model.partition(":")
        name, _, tag = rest.partition("/")
        if kind == "open_clip" and not name.startswith("hf-hub"):
            config = get_pretrained_cfg(name, tag) or {}
            repository, _, file = config.get("hf_hub", "").rpartition("/")
            for wanted in (file,) if file else _NAMES:
                kept = try_to_load_from_cache(repository, wanted) if repository else None
                if isinstance(kept, str):
                    yield model, Path(kept)
                    break
        elif kind == "torchvision":
            weights = get_model_weights(name)[tag]
            kept_file = Path(hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
            if kept_file.is_file():
                yield model, kept_file
