"""Architectures of open_clip: one from a file of the user's own, and which of the known ones some weights are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from open_clip import add_model_config, get_model_config, list_models
from torch import Tensor

from clip_robustness.errors import InputError

_NEEDED = ("embed_dim", "vision_cfg", "text_cfg")


def read_config(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The architecture and the preprocessing in a JSON as open_clip has them: an architecture alone, or an
    `open_clip_config.json` with both. Raises `InputError` for any other file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        config, published = content.get("model_cfg", content), content.get("preprocess_cfg", {})
        missing = [key for key in _NEEDED if key not in config]
        wrong = [key for key in _NEEDED[1:] if not isinstance(config.get(key), dict)]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: not an architecture of open_clip as JSON: {str(error)[:200]}") from None
    if missing or wrong or not isinstance(published, dict):
        raise InputError(f"{file}: not an architecture of open_clip, which has {', '.join(_NEEDED)} and their values")
    return config, published


def registered(file: Path, config: Mapping[str, Any]) -> str:
    """The name under which open_clip knows the architecture of a file from now on; another content, another name."""
    text = json.dumps(config)
    name = f"{file.stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if name not in list_models():
        with TemporaryDirectory() as folder:  # open_clip reads it once
            (Path(folder) / f"{name}.json").write_text(text, encoding="utf-8")
            add_model_config(Path(folder) / f"{name}.json")
    return name


def unlike(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """In which widths and depths weights differ from an architecture, and which one they are of: empty where they do
    not, as in "text width 512, the file's is 768: ViT-L-14?"."""
    if any(key.startswith(("vision_model.", "text_model.")) for key in weights):
        return "it is a model of transformers; give the folder that it lies in, as transformers:FOLDER"
    asked, found = _facts(config), _facts_of(weights)
    differing = [
        f"{key} {asked[key]}, the file's is {found[key]}" for key in asked if found.get(key, asked[key]) != asked[key]
    ]
    if not found or not differing:
        return ""
    close = [name for name in list_models() if _agrees(_facts(get_model_config(name)), found)]
    plain = sorted(close, key=lambda name: ("quickgelu" in name, len(name), name))
    return "; ".join(differing) + (f": {plain[0]}?" if plain else "")


def _agrees(known: Mapping[str, object], found: Mapping[str, object]) -> bool:
    return known.keys() == found.keys() and all(known[key] == found[key] for key in found)


def _facts(config: Mapping[str, Any]) -> dict[str, object]:
    """What tells an architecture from others; a tower of another library is known by that alone."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    facts: dict[str, object] = {"embedding width": config["embed_dim"]}
    if "hf_model_name" not in text:
        names = {"text width": ("width", 512), "text layers": ("layers", 12), "vocabulary": ("vocab_size", 49408)}
        facts |= {fact: text.get(key, default) for fact, (key, default) in names.items()}
    facts["image tower"] = "of timm" if "timm_model_name" in vision else "of open_clip"
    if "timm_model_name" not in vision:
        layers = vision.get("layers", 12)
        facts |= {"image width": vision.get("width", 768)}
        if isinstance(layers, list):
            facts |= {"image layers": sum(layers)}
        else:
            facts |= {"image layers": layers, "patch": vision.get("patch_size", 16)}
    return facts


def _facts_of(weights: Mapping[str, Tensor]) -> dict[str, object]:
    """The same, of weights; nothing of those that are of no CLIP."""
    text = "text." if any(key.startswith("text.") for key in weights) else ""
    shapes = {key: tuple(value.shape) for key, value in weights.items()}

    def layers(prefix: str, *, depth: int = 1) -> int:
        return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})

    facts: dict[str, object] = {}
    if (shape := shapes.get(f"{text}text_projection", shapes.get("text.text_projection.weight", ())[::-1])) and len(
        shape
    ) == 2:
        facts["embedding width"] = shape[1]
    if len(shape := shapes.get(f"{text}token_embedding.weight", ())) == 2:
        facts |= {
            "text width": shape[1],
            "text layers": layers(f"{text}transformer.resblocks."),
            "vocabulary": shape[0],
        }
    if any(key.startswith("visual.") for key in shapes):
        timm = any(key.startswith("visual.trunk.") for key in shapes)
        facts["image tower"] = "of timm" if timm else "of open_clip"
    if len(shape := shapes.get("visual.conv1.weight", ())) == 4:
        if "visual.layer1.0.conv1.weight" in shapes:
            facts |= {
                "image width": shapes["visual.layer1.0.conv1.weight"][0],
                "image layers": sum(layers(f"visual.layer{i}.") for i in range(1, 5)),
            }
        else:
            facts |= {
                "image width": shape[0],
                "image layers": layers("visual.transformer.resblocks."),
                "patch": shape[2],
            }
    return facts
