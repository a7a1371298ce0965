"""The data sets on disk: from the line in the suite to a labelled image set.

A source is a folder in the published layout, or PREFIX:PLACE of a registered reader, as in `datasets.readers`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from clip_robustness import registry
from clip_robustness.datasets import video
from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.clusters import clustered
from clip_robustness.datasets.dataset import Dataset, Sample, check_folder, read_folder
from clip_robustness.datasets.groups import grouped
from clip_robustness.datasets.label_space import ClassSpace, class_space, facts, own_space
from clip_robustness.datasets.labels import naming, understood
from clip_robustness.datasets.layouts import images_of, part_of
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.datasets.readers import read
from clip_robustness.datasets.records import read_json
from clip_robustness.datasets.source import reader_of
from clip_robustness.errors import InputError

_VIDEO = {"imagenet-vid-robust": video.read_vid, "ytbb-robust": video.read_ytbb}
_OBJECTNET_BORDER = 2
"""ObjectNet marks its images with a red border of so many pixels, to be cut off before use."""
_CROPPED = ("imagenet-c", "stylized-imagenet", "cue-conflict")
"""Sets whose published files are the 224 px that models see: resizing to 256 px and cropping would cut off margins."""
ALL_NAMES = "all names"
"""The part of objectnet that is all of it, whether ImageNet has its classes or not."""
_OF_FOLDERS = ("imagenet-c", "imagenet-p", "cue-conflict")


def load(data: str, source: str, classes: ClassList, part: str = "", clusters: str = "", groups: str = "") -> Dataset:
    """All images of a data set for models over `classes`, with warnings about what is not as published.

    `part` is the folder of a condition inside a data set that holds many, `clusters` a rule for which images belong
    together, as in `datasets.clusters`, and `groups` one for what is told apart, as in `datasets.groups`.

    Raises `InputError` naming file or option where the source can't be read, has
    other classes, or the rule does not fit.
    """
    images = _read(data, source, classes, part, clusters[7:] if clusters.startswith("column:") else "")
    images = clustered(images, clusters) if clusters else images
    return grouped(images, groups) if groups else images


def _read(data: str, source: str, classes: ClassList, part: str, column: str) -> Dataset:
    if data == "objectnet" and part == ALL_NAMES:
        return _objectnet_in_full(source, classes)
    space = space_of(data, source, classes)
    reader, place = reader_of(source)
    if column and not (reader and reader.options.get("columns")):
        raise InputError(
            f"data set '{data}': column:{column} under [clusters] is for tables (flat: and hf:), not {source}"
        )
    shift = registry.find("shift", data) if registry.knows("shift", data) else None
    if shift and (not reader or shift.options.get("tables")):
        images = read(shift, data, source, space, classes, part=part)
    elif reader:
        if data in _VIDEO or data in _OF_FOLDERS or part:
            raise InputError(f"data set '{data}' is read from a folder in its published layout, not from '{source}'")
        images = read(reader, data, place, space, classes, **({"column": column} if column else {}))
    elif data in _VIDEO:
        images = _VIDEO[data](data, Path(source), space)
    elif data == "objectnet":
        images = _read_objectnet(data, Path(source), space, classes)
    elif data == "cue-conflict":
        images = _read_cue_conflict(data, Path(source), space, classes)
    elif data == "imagenet-p":
        images = read_folder(data, part_of(data, Path(source), part), classes, space, (".mp4",))
    elif archive := _cifar_archive(Path(source)):
        images = _read_cifar(data, archive, space)
    else:
        images = read_folder(data, part_of(data, Path(source), part), classes, space)
    if data in _CROPPED:
        images = _each(images, cropped=True)
    if data == "objectnet":
        images = _each(images, border=_OBJECTNET_BORDER)
    return replace(images, warnings=(*images.warnings, *_not_as_published(data, part, images, space, classes)))


def space_of(data: str, source: str, classes: ClassList) -> ClassSpace:
    """The class space of a data set; ObjectNet's is the one of its own `mappings` where these files are there."""
    mappings = Path(source) / "mappings"
    if data != "objectnet" or not mappings.is_dir():
        return class_space(data, classes)
    labels = read_json(mappings / "folder_to_objectnet_label.json")
    names = read_json(mappings / "objectnet_to_imagenet_1k.json")
    shared = {folder: names[label].split("; ") for folder, label in sorted(labels.items()) if label in names}
    called = sorted({name for members in shared.values() for name in members})
    position = understood(f"{mappings}", called, naming(classes.name, own_space(classes), classes)).label_of
    if unknown := [name for name in called if name not in position]:
        raise InputError(f"{mappings}: '{unknown[0]}' is no class of '{classes.name}' ({len(unknown)} names are not)")
    members = {folder: [classes.keys[position[name]] for name in members] for folder, members in shared.items()}
    return class_space(data, classes, members)


def _objectnet_in_full(source: str, classes: ClassList) -> Dataset:
    """All names of ObjectNet, shared with ImageNet or not, and all images, labelled with them.

    Raises `InputError` where the source is no folder in the published layout.
    """
    folder, published = Path(source), facts("objectnet", classes)
    if reader_of(source)[0]:
        raise InputError(f"all names of objectnet are read from a folder in its published layout, not from '{source}'")
    check_folder("objectnet", folder)
    file = folder / "mappings" / "folder_to_objectnet_label.json"
    labels = read_json(file) if file.is_file() else {}
    keys = tuple(sorted(labels or (*published["classes"], *published.get("other folders", []))))
    names = tuple(labels.get(key, key.replace("_", " ")) for key in keys)
    known = ClassList("objectnet", keys, names, classes.prompts)
    images = read_folder("objectnet", images_of("objectnet", folder), known)
    samples = tuple(replace(sample, id=f"images/{sample.id}", border=_OBJECTNET_BORDER) for sample in images.samples)
    return replace(images, samples=samples, classes=known)


def _each(images: Dataset, **changes: Any) -> Dataset:
    """The same images, each with these changes."""
    return replace(images, samples=tuple(replace(sample, **changes) for sample in images.samples))


def only_classes_of(space: ClassSpace, images: Dataset) -> Dataset:
    """The images of a set over the models' classes of which a label is in a class of `space`; labels are still the
    models'."""
    samples = (s for s in images.samples if any(label in space.label_of for label in s.accepted))
    return replace(images, samples=tuple(samples))


def relabelled(space: ClassSpace, images: Dataset) -> Dataset:
    """The same images with those of their labels that are in `space`, in its numbers."""

    def in_space(sample: Sample) -> Sample:
        label, *also = dict.fromkeys(space.label_of[label] for label in sample.accepted if label in space.label_of)
        return replace(sample, label=label, also=tuple(also))

    return replace(images, samples=tuple(map(in_space, images.samples)), space=space)


def _read_objectnet(name: str, folder: Path, space: ClassSpace, classes: ClassList) -> Dataset:
    """Images of the shared classes; the folders of the others are known, and left alone."""
    check_folder(name, folder)
    images = images_of(name, folder)
    others = facts(name, classes).get("other folders", [])
    every = replace(space, keys=(*space.keys, *others), members=(*space.members, *((),) * len(others)))
    found = read_folder(name, images, classes, every)
    shared = tuple(replace(sample, id=f"images/{sample.id}") for sample in found.samples if sample.label < len(space))
    return replace(found, samples=shared, space=space)


def _cifar_archive(folder: Path) -> Path | None:
    """The folder that holds `cifar-10-batches-py`, where `folder` is that one or the one inside."""
    inner = "cifar-10-batches-py"
    return folder.parent if folder.name == inner else folder if (folder / inner).is_dir() else None


def _read_cifar(name: str, root: Path, space: ClassSpace) -> Dataset:
    """CIFAR-10's test images from the unpacked archive, whose checksums torchvision compares before it opens the file.

    Raises `InputError` where they differ.
    """
    from torchvision.datasets import CIFAR10

    try:
        images = CIFAR10(str(root), train=False)
    except RuntimeError as error:
        raise InputError(f"data set '{name}': {root}: {error}; unpack the archive anew") from None
    file = root / CIFAR10.base_folder / "test_batch"
    pairs = enumerate(zip(images.data, images.targets, strict=True))
    samples = [
        Sample(f"{space.keys[label]}/{i:05d}", file, label, content=partial(_png, pixels))
        for i, (pixels, label) in pairs
    ]
    return Dataset(name, tuple(sorted(samples, key=lambda sample: sample.id)), space)


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _read_cue_conflict(name: str, folder: Path, space: ClassSpace, classes: ClassList) -> Dataset:
    """`<shape>/<shape><n>-<texture><n>.png` (Geirhos et al. 2019): the label is the shape, the rival the texture.

    Images of one shape picture belong together, and so do those of one texture picture.
    """
    images, label_of = read_folder(name, folder, classes, space), {key: i for i, key in enumerate(space.keys)}
    samples = []
    for sample in images.samples:
        named = re.fullmatch(r"(.+?)\d+-(.+?)\d+", sample.path.stem)
        pictures = tuple(sample.path.stem.split("-"))
        if not named or label_of.get(named[1]) != sample.label or named[2] not in label_of:
            raise InputError(
                f"data set '{name}': {sample.path} should be called <shape><number>-<texture><number>, with the shape "
                f"of its folder and a texture among {', '.join(space.keys[:3])}, ..."
            )
        samples.append(replace(sample, rival=label_of[named[2]], clusters=pictures))
    return replace(images, samples=tuple(samples))


def _not_as_published(data: str, part: str, images: Dataset, space: ClassSpace, classes: ClassList) -> Sequence[str]:
    """A sentence for each number that differs: users work on subsets, and should know it."""
    counted, what = (len(images.anchors), "anchors") if images.anchors else (len(images), "images")
    known = facts(data, classes)
    of_shift = registry.find("shift", data).options if registry.knows("shift", data) else {}
    published = known.get("images", counted)
    if isinstance(published, dict):
        published = published.get(part, counted)
    with_members = {label for label, members in enumerate(space.members) if members}
    found = len(with_members & {label for sample in images.samples for label in sample.accepted})
    of_part = f"'{data}', {part}" if part and isinstance(known.get("images"), dict) else f"'{data}'"
    warnings = []
    if counted != published:
        warnings.append(f"data set {of_part}: {counted} {what}, {published} were published")
    expected = known.get("shown", found if "shown" in of_shift else len(with_members))
    if not images.classes and found < expected:
        warnings.append(f"data set {of_part}: images of {found} of {expected} classes")
    return warnings
