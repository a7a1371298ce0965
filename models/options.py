"""What can be asked of a model beyond its name: the `?key=value&key=value` of a spec. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True)
class Options:
    """Options of the models that the suite builds itself. None leaves the choice to the model's own configuration.

    `prompts`: a template set by name, a text file of templates or a JSON of learned prompts.
    `class_names`: `open_clip`, or a file with what the prompts call each class.
    `precision`: of the forward pass; weights, normalisation and logits stay float32.
    `quick_gelu`: the activation of checkpoints that descend from OpenAI's.
    `config`: a file with the architecture, as JSON that open_clip reads.
    `ema`: take the averaged weights of a training checkpoint that has both.
    `image_size` (pixels), `mean`, `std` (of pixels in [0, 1]), `interpolation`, `resize_mode`, `crop_pct`: the
    preprocessing.
    """

    prompts: str | None = None
    class_names: str | None = None
    precision: Precision = "fp32"
    compile: bool = False
    channels_last: bool = True
    quick_gelu: bool | None = None
    config: str | None = None
    ema: bool = True
    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    resize_mode: Literal["shortest", "longest", "squash"] | None = None
    crop_pct: float | None = None


LEARNED = {file.stem: file for file in sorted((Path(__file__).parent / "prompts").glob("*.json"))}
"""Prompts that others learned, in the form of `clip-robustness prompts search`; each file says whose they are."""
TEMPLATE_SETS = ("openai-80", "simple", "plain", "as-is", "cifar10-18", *LEARNED)
_SPEED = ("precision", "compile", "channels_last")
_ZERO_SHOT = ("prompts", "class_names", "quick_gelu", "config", "resize_mode")
_ALLOWED = {
    "open_clip": tuple(f.name for f in fields(Options) if f.name != "crop_pct"),
    "transformers": ("prompts", "class_names", *_SPEED),
    "timm": tuple(f.name for f in fields(Options) if f.name not in _ZERO_SHOT),
    "torchvision": tuple(f.name for f in fields(Options) if f.name not in _ZERO_SHOT),
    "mini:clip": ("prompts", "class_names", *_SPEED),
    "mini:supervised": _SPEED,
}
_CHOICES = {
    "precision": get_args(Precision),
    "interpolation": ("bilinear", "bicubic"),
    "resize_mode": ("shortest", "longest", "squash"),
}
_NAMES_OR_FILES: dict[str, tuple[str, ...]] = {
    "prompts": TEMPLATE_SETS,
    "class_names": ("open_clip",),
    "config": (),
}


def read_options(kind: str, given: Mapping[str, str], folder: Path) -> Options:
    """The options of a spec of this kind (or `mini:NAME`); files are relative to `folder`.

    A `python:` factory, or a kind of model that others registered, may have options of its own: those that are not
    about speed are left to it. Raises `InputError` for an unknown key, a value of another type or a missing file.
    """
    if kind not in _ALLOWED:
        return Options(**{key: _read(key, given[key], folder) for key in _SPEED if key in given})  # type: ignore[arg-type]
    for key in given:
        if key not in _ALLOWED[kind]:
            raise InputError(f"{kind}: has no option '{key}'; {nearest(key, _ALLOWED[kind])}")
    return Options(**{key: _read(key, value, folder) for key, value in given.items()})  # type: ignore[arg-type]


def _read(key: str, value: str, folder: Path) -> object:
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise InputError(f"the option '{key}={value}' should be one of {', '.join(_CHOICES[key])}")
        return value
    if key in _NAMES_OR_FILES:
        file = expanded(value, folder)
        if value not in _NAMES_OR_FILES[key] and not file.is_file():
            known = f"; {nearest(value, _NAMES_OR_FILES[key])}" if _NAMES_OR_FILES[key] else f" {file}"
            raise InputError(f"the option '{key}={value}': there is no such file{known}")
        return value if value in _NAMES_OR_FILES[key] else str(file)
    try:
        return _READERS.get(key, _flag)(value)
    except (ValueError, KeyError):
        form = {"image_size": "a number of pixels", "crop_pct": "a share like 0.875"}.get(key)
        form = form or ("R,G,B of pixels in [0, 1]" if key in _READERS else "true or false")
        raise InputError(f"the option '{key}={value}' should be {form}") from None


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _pixels(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise ValueError
    return float(text)


def _mean(text: str) -> tuple[float, float, float]:
    red, green, blue = (float(number) for number in text.split(","))
    if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 1:
        raise ValueError
    return red, green, blue


def _std(text: str) -> tuple[float, float, float]:
    if 0 in (found := _mean(text)):
        raise ValueError
    return found


_READERS: dict[str, Callable[[str], object]] = {
    "image_size": _pixels,
    "crop_pct": _share,
    "mean": _mean,
    "std": _std,
}
