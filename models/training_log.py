"""What a training run says of the model that came out of it: open_clip's `params.txt`, the arguments of timm's and
torchvision's scripts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from clip_robustness.errors import InputError

_LARGEST = 1 << 20
_PREPARED = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
"""Of timm's `pretrained_cfg`."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ClipTraining:
    """The flags of open_clip's training that change the model or what it sees; None where the default was left.

    The others that force something, patch dropout and precision, are for training alone.
    """

    file: Path
    model: str | None = None
    pretrained: str | None = None
    force_quick_gelu: bool | None = None
    force_custom_text: bool | None = None
    force_image_size: int | None = None
    force_context_length: int | None = None
    image_mean: Colour | None = None
    image_std: Colour | None = None
    image_interpolation: str | None = None
    image_resize_mode: str | None = None


def clip_training(file: Path) -> ClipTraining | None:
    """The parameters that open_clip's training writes beside its folder of checkpoints, or that lie beside the file.

    Raises `InputError` for a value that can't be meant.
    """
    folder = file.resolve().parent
    places = (folder.parent / "params.txt",) if folder.name == "checkpoints" else (folder / "params.txt",)
    log = next((place for place in places if place.is_file()), None)
    if log is None:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = {key: value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    found: dict[str, Any] = {}
    for key, read in _CLIP_FLAGS.items():
        if said.get(key, "None") in ("None", ""):
            continue
        try:
            found[key] = read(_literal(said[key]))
        except (ValueError, TypeError) as error:
            raise InputError(f"{log}: '{key}: {said[key]}' is not {error}") from None
    return ClipTraining(log, **found)


@dataclass(frozen=True)
class ImageTraining:
    """What the arguments of a supervised training say: what the network is built with, and its preprocessing in the
    words of `timm.data.resolve_data_config`. `tells` are the names that they have, if only to leave the default.
    `channels` of an image and `outputs`, how many classes there are, tell nothing that the weights do not; `labels` are
    what the outputs stand for."""

    model: str | None = None
    image_size: int | None = None
    channels: int | None = None
    outputs: int | None = None
    labels: tuple[str, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    tells: frozenset[str] = frozenset()


def image_training(file: Path, arguments: Mapping[str, Any]) -> ImageTraining:
    """The arguments of a training of timm, or of torchvision's, DeiT's and MAE's scripts, which call some otherwise:
    those in a checkpoint, else those of the `args.yaml` or of timm's `config.json` beside it.

    Raises `InputError` for a value that can't be meant.
    """
    source, said = file, arguments
    beside = file.resolve().parent / "args.yaml"
    if not said and beside.is_file() and beside.stat().st_size < _LARGEST:
        source, said = beside, _yaml(beside)
    elif not said:
        source = file.resolve().parent / "config.json"
        said = _published(source) if source.is_file() and source.stat().st_size < _LARGEST else {}
    found: dict[str, Any] = {}
    for key, (name, read) in _IMAGE_ARGUMENTS.items():
        if (value := said.get(key)) is None or value in ("", [], {}) or name in found:
            continue
        try:
            found[name] = read(value)
        except (ValueError, TypeError) as error:
            raise InputError(f"{source}: the training's argument '{key}={value}' is not {error}") from None
    tells = {name for key, (name, _) in _IMAGE_ARGUMENTS.items() if key in said}
    if said.get("val_crop_size") and "resize" in found:  # torchvision's scripts, which have ImageNet's mean
        found["crop_pct"] = found["image_size"] / found["resize"]
        found |= {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
        tells |= {"mean", "std"}
    given = found.get("model_kwargs", {})
    if (channels := given.pop("in_chans", None)) is not None:
        found["channels"] = channels
    build = {key: found[key] for key in ("global_pool", "bn_eps") if key in found} | given
    prepared: dict[str, Any] = {
        key: found[key] for key in ("mean", "std", "interpolation", "crop_pct", "crop_mode") if key in found
    }
    plain: dict[str, Any] = {key: found.get(key) for key in ("model", "image_size", "channels", "outputs")} | {
        "labels": found.get("labels", ())
    }
    return ImageTraining(**plain, build=build, preprocessing=prepared, tells=frozenset(tells))


def _yaml(file: Path) -> Mapping[str, Any]:
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not the arguments of a training: {reason}") from None
    return said if isinstance(said, dict) else {}


def _published(file: Path) -> Mapping[str, Any]:
    """What timm writes beside weights for the hub, in the words of its training; nothing of another library's."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(said, dict) or not isinstance(config := said.get("pretrained_cfg"), dict):
            return {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not the configuration of a model: {error}") from None
    names = {"architecture": "model", "global_pool": "gp", "model_args": "model_kwargs"}
    names |= {key: key for key in ("num_classes", "label_names")}
    return {key: config[key] for key in _PREPARED if key in config} | {
        ours: said[theirs] for theirs, ours in names.items() if theirs in said
    }


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a name")
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("a list of names")
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError("a whole number")
    return value


def _share(value: object) -> float:
    if not isinstance(value, int | float) or not 0 < value <= 10:
        raise TypeError("a share like 0.875")
    return float(value)


def _side(value: object) -> int:
    """Of a square: one number, a list of one, height and width, or channels, height and width."""
    sides = list(value) if isinstance(value, list | tuple) else [value]
    sides = sides[1:] if len(sides) == 3 else sides
    if not sides or len(set(sides)) > 1:
        raise ValueError("the size of a square image, which is what models here take")
    return _number(sides[0])


def _colour(value: object) -> Colour:
    """Three numbers, or one for all of them."""
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    good = [isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n <= 1 for n in numbers]
    if good != [True] * 3:
        raise ValueError("three numbers between 0 and 1, as for pixels between 0 and 1")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _spread(value: object) -> Colour:
    if 0 in (found := _colour(value)):
        raise ValueError("three numbers above 0")
    return found


def _plain(value: object) -> dict[str, object]:
    """Arguments of a network's constructor. Those of `timm.create_model` itself, which name files and places to load
    from, are not taken from a file."""
    if not isinstance(value, dict) or not all(isinstance(v, int | float | str | tuple | list) for v in value.values()):
        raise TypeError("arguments of a network")
    return {key: v for key, v in value.items() if not re.match("pretrained|checkpoint|cache|num_classes", str(key))}


def _one_of(*known: str) -> Callable[[object], str]:
    """A reader of a name among these, in capitals or not."""

    def read(value: object) -> str:
        if (name := _text(value).lower()) not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return name

    return read


def _interpolation(*known: str) -> Callable[[object], str]:
    """Training at random evaluates with the default."""
    read = _one_of("random", *known)
    return lambda value: "bicubic" if read(value) == "random" else read(value)


_CLIP_FLAGS: dict[str, Callable[[object], object]] = {
    "model": _text,
    "pretrained": _text,
    "force_quick_gelu": _flag,
    "force_custom_text": _flag,
    "force_image_size": _side,
    "force_context_length": _number,
    "image_mean": _colour,
    "image_std": _spread,
    "image_interpolation": _interpolation("bicubic", "bilinear"),
    "image_resize_mode": _one_of("shortest", "longest", "squash"),
}
_IMAGE_ARGUMENTS: dict[str, tuple[str, Callable[[object], object]]] = {
    "model": ("model", _text),
    "gp": ("global_pool", _text),
    "in_chans": ("channels", _number),
    "num_classes": ("outputs", _number),
    "nb_classes": ("outputs", _number),
    "label_names": ("labels", _names),
    "model_kwargs": ("model_kwargs", _plain),
    "input_size": ("image_size", _side),
    "img_size": ("image_size", _side),
    "val_crop_size": ("image_size", _side),
    "val_resize_size": ("resize", _side),
    "bn_eps": ("bn_eps", _share),
    "mean": ("mean", _colour),
    "std": ("std", _spread),
    "interpolation": (
        "interpolation",
        _interpolation("bicubic", "bilinear", "nearest", "lanczos", "box", "hamming"),
    ),
    "crop_pct": ("crop_pct", _share),
    "crop_mode": ("crop_mode", _one_of("center", "squash", "border")),
}
