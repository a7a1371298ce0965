"""What differs from set-up to set-up, one change at a time: the causes that people found for figures that differ."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode

from clip_robustness.calibration.resizing import resizing_of
from clip_robustness.calibration.setup import Setup
from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets import imagenet
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.datasets.label_space import ClassSpace, own_space
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.zero_shot import ZeroShot

Scope = Literal["model", "data"]
_COLOURS = {
    "OpenAI's CLIPs": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "Inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "no normalisation": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of pixels in [0, 1]."""
_SCORING = ("prompts", "class_names", "quick_gelu", "mean", "std", "interpolation", "resize_mode", "crop_pct")
"""Options of specs that figures depend on, beside the precision and the size."""
_JPEG_QUALITY = 85
"""Of the published files of ImageNet-C."""


class Now(NamedTuple):
    """The set-up whose figure differs."""

    setup: Setup
    model: Classifier
    condition: Condition
    images: Dataset

    @property
    def space(self) -> ClassSpace:
        return self.images.space or own_space(self.model.classes)


@dataclass(frozen=True)
class Change:
    """A set-up that differs from the present one by `cause` alone; `with_it` says how. `scope`: whether all figures of
    a model should have it, or those of a data set."""

    cause: str
    with_it: str
    setup: Setup
    scope: Scope = "model"


def changes(now: Now) -> Iterator[Change]:
    """All that apply, those of texts and labels first, which need no image."""
    for each in CHANGES:
        yield from each(now)


def _options(now: Now) -> Iterator[Change]:
    """Each option of the spec left out, as the library has it."""
    spec = now.setup.spec
    names = {"prompts": "prompts", "class_names": "class names", "quick_gelu": "activation", "mean": "mean and std"}
    names |= {"std": "mean and std", "interpolation": "interpolation", "resize_mode": "crop", "crop_pct": "crop"}
    for key, value in spec.given:
        if key in _SCORING and getattr(spec.options, key) is not None:
            together = ("mean", "std") if key in ("mean", "std") else (key,)
            unset: dict[str, Any] = dict.fromkeys(together)
            options = replace(spec.options, **unset)
            given = tuple(pair for pair in spec.given if pair[0] not in together)
            setup = replace(now.setup, spec=replace(spec, options=options, given=given))
            yield Change(names[key], f"without {key}={value} of the spec", setup)


def _templates(now: Now) -> Iterator[Change]:
    if not isinstance(now.model.net, ZeroShot):
        return
    used = now.setup.spec.options.prompts or now.setup.classes.prompts
    for name in dict.fromkeys((now.setup.classes.prompts, "openai-80", "simple", "plain")):
        if name != used:
            yield Change("prompts", f"with the prompts {name} instead of {used}", _with(now.setup, prompts=name))


def _class_names(now: Now) -> Iterator[Change]:
    if not isinstance(now.model.net, ZeroShot):
        return
    classes = now.setup.classes
    words = imagenet.words()
    lists = {"the list's own": classes.names}
    if not any(character.isdigit() for key in classes.keys for character in key):
        lists["the names of its folders"] = tuple(key.replace("_", " ") for key in classes.keys)
    if all(key in words for key in classes.keys):
        lists |= {"the first words of the synsets": tuple(words[key].partition(",")[0] for key in classes.keys)}
    used = "those of the spec" if now.setup.spec.options.class_names else "the list's own"
    for what, names in lists.items():
        if used != what and (used != "the list's own" or names != classes.names):
            setup = replace(_with(now.setup, class_names=None), classes=replace(classes, names=names))
            yield Change("class names", f"with {what} as class names instead of {used}", setup)


def _activation(now: Now) -> Iterator[Change]:
    if now.setup.spec.kind == "open_clip":
        for quick in (True, False):
            if quick != now.setup.spec.options.quick_gelu:
                name = "QuickGELU" if quick else "GELU"
                yield Change("activation", f"with {name} in both towers", _with(now.setup, quick_gelu=quick))


def _precision(now: Now) -> Iterator[Change]:
    if now.model.precision != "fp32":
        said = f"in float32 instead of {now.model.precision}"
        yield Change("half precision", said, _with(now.setup, precision="fp32"))


def _colours(now: Now) -> Iterator[Change]:
    used = [tuple(round(v, 4) for v in part.flatten().tolist()) for part in (now.model.mean, now.model.std)]
    for name, (mean, std) in _COLOURS.items():
        if [tuple(round(v, 4) for v in part) for part in (mean, std)] != used:
            yield Change("mean and std", f"with mean and std of {name}", replace(now.setup, mean=mean, std=std))


def _geometry(now: Now) -> Iterator[Change]:
    used = resizing_of(now.model.geometry, now.model.image_size)
    if used is None:
        return
    for mode in (InterpolationMode.BICUBIC, InterpolationMode.BILINEAR, InterpolationMode.NEAREST):
        if mode != used.interpolation:
            said = f"resized {mode.value} instead of {used.interpolation.value}"
            yield Change("interpolation", said, replace(now.setup, geometry=replace(used, interpolation=mode)))
    said = f"resized with{'out' if used.antialias else ''} antialiasing"
    yield Change("antialiasing", said, replace(now.setup, geometry=replace(used, antialias=not used.antialias)))
    for share in (1.0, 0.875):
        shorter = round(used.side / share)
        if shorter != used.shorter or used.squash:
            said = f"with {100 * share:g}% of the shorter side in the crop"
            cropped = replace(used, shorter=shorter, squash=False)
            yield Change("crop", said, replace(now.setup, geometry=cropped))
    if not used.squash:
        yield Change("crop", "squashed instead of cropped", replace(now.setup, geometry=replace(used, squash=True)))
    twice = replace(now.setup, geometry=replace(used, first=256))
    yield Change("resized twice", "resized to 256 px before", twice, "data")
    whole = all(sample.cropped for sample in now.images.samples)
    said = "resized and cropped as other images" if whole else "taken whole, as files that were cropped before"
    yield Change("resized twice", said, replace(now.setup, whole=not whole), "data")


def _channels(now: Now) -> Iterator[Change]:
    yield Change("BGR", "with red and blue exchanged", replace(now.setup, pixels=_bgr), "data")


def _bgr(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1])


def _files(now: Now) -> Iterator[Change]:
    if now.condition.name in ("imagenet-c", "corruption"):
        said = f"saved as JPEG of quality {_JPEG_QUALITY} after the corruption"
        yield Change("corrupted in memory", said, replace(now.setup, pixels=_jpeg), "data")


def _jpeg(pixels: Pixels) -> Pixels:
    saved = io.BytesIO()
    Image.fromarray(pixels).save(saved, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return np.asarray(Image.open(saved))


def _classes(now: Now) -> Iterator[Change]:
    """Those that are scored: of the data set, or of the model."""
    if now.images.anchors:
        return
    every = own_space(now.model.classes)
    if now.space.members != every.members:
        if all(len(members) == 1 for members in now.space.members):
            said = f"with all {len(every)} classes instead of {len(now.space)}"
            position = {i: members[0] for i, members in enumerate(now.space.members)}
            yield Change("classes", said, replace(now.setup, labels=_Relabelled(position, None)), "data")
        return
    present = sorted({label for sample in now.images.samples for label in sample.accepted})
    if 1 < len(present) < len(every):
        keys = tuple(every.keys[label] for label in present)
        some = ClassSpace(now.images.name, keys, tuple((label,) for label in present))
        said = f"with the {len(present)} classes that have images instead of all {len(every)}"
        labels = _Relabelled({label: i for i, label in enumerate(present)}, some)
        yield Change("classes", said, replace(now.setup, labels=labels), "data")


def _labels(now: Now) -> Iterator[Change]:
    count = len(now.space)
    as_text = sorted(range(count), key=str)  # the place in an order of texts -> the number there
    orders = {
        "shifted labels": (
            ("with labels one higher", [*range(1, count), 0]),
            ("with labels one lower", [count - 1, *range(count - 1)]),
        ),
        "labels sorted as text": (
            ("with labels as numbers, which were sorted as text", as_text),
            ("with labels sorted as text, which were numbers", list(np.argsort(as_text))),
        ),
    }
    for cause, ways in orders.items():
        for said, order in ways:
            labels = _Relabelled({i: int(label) for i, label in enumerate(order)}, now.images.space)
            yield Change(cause, said, replace(now.setup, labels=labels), "data")


@dataclass(frozen=True)
class _Relabelled:
    """Labels -> labels of a space, None: of the model's own."""

    label_of: dict[int, int]
    space: ClassSpace | None

    def __call__(self, images: Dataset) -> Dataset:
        samples = (
            replace(s, label=self.label_of[s.label], also=tuple(self.label_of[a] for a in s.also))
            for s in images.samples
        )
        return replace(images, samples=tuple(samples), space=self.space)


def _with(setup: Setup, **options: Any) -> Setup:
    return replace(setup, spec=replace(setup.spec, options=replace(setup.spec.options, **options)))


CHANGES: tuple[Callable[[Now], Iterator[Change]], ...] = (
    _options,
    _templates,
    _class_names,
    _labels,
    _classes,
    _activation,
    _precision,
    _colours,
    _channels,
    _geometry,
    _files,
)
