"""The data sets on disk: from the line in the suite to a labelled image set.

A source is a folder in the published layout, or PREFIX:PLACE of a registered reader, as in `datasets.readers`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from clip_robustness import registry
from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.clusters import clustered
from clip_robustness.datasets.dataset import Dataset, Sample, read_folder
from clip_robustness.datasets.groups import grouped
from clip_robustness.datasets.label_space import ClassSpace, class_space, facts, options, own_space
from clip_robustness.datasets.labels import naming, understood
from clip_robustness.datasets.layouts import part_of
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.datasets.readers import read
from clip_robustness.datasets.records import read_json
from clip_robustness.datasets.source import reader_of
from clip_robustness.errors import InputError


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
    reader, place = reader_of(source)
    if column and not (reader and reader.options.get("columns")):
        raise InputError(
            f"data set '{data}': column:{column} under [clusters] is for tables (flat: and hf:), not {source}"
        )
    given = options(data)
    if reader and not given.get("tables") and (part or "tables" in given):
        what = f"'{data}', {part}," if part else f"'{data}'"
        raise InputError(f"data set {what} is read from a folder in its published layout, not from '{source}'")
    in_full = part and part == given.get("in_full")
    space = own_space(classes) if in_full else space_of(data, source, classes)
    if registry.knows("shift", data) and (not reader or given.get("tables")):
        images = read(registry.find("shift", data), data, source, space, classes, part=part)
    elif reader:
        images = read(reader, data, place, space, classes, **({"column": column} if column else {}))
    elif archive := _cifar_archive(Path(source)):
        images = _read_cifar(data, archive, space)
    else:
        images = read_folder(data, part_of(data, Path(source), part), classes, space)
    if changes := {name: given[name] for name in ("cropped", "border") if name in given}:
        images = replace(images, samples=tuple(replace(sample, **changes) for sample in images.samples))
    said = () if in_full else _not_as_published(data, part, images, space, classes)
    return replace(images, warnings=(*images.warnings, *said))


def space_of(data: str, source: str, classes: ClassList) -> ClassSpace:
    """The class space of a data set; that of its own `mappings` where it is registered with some that are there."""
    files = [Path(source, file) for file in options(data).get("mappings", ())]
    if not files or not files[0].parent.is_dir():
        return class_space(data, classes)
    mappings, (labels, names) = files[0].parent, map(read_json, files)
    shared = {folder: names[label].split("; ") for folder, label in sorted(labels.items()) if label in names}
    called = sorted({name for members in shared.values() for name in members})
    position = understood(f"{mappings}", called, naming(classes.name, own_space(classes), classes)).label_of
    if unknown := [name for name in called if name not in position]:
        raise InputError(f"{mappings}: '{unknown[0]}' is no class of '{classes.name}' ({len(unknown)} names are not)")
    members = {folder: [classes.keys[position[name]] for name in members] for folder, members in shared.items()}
    return class_space(data, classes, members)


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


def _not_as_published(data: str, part: str, images: Dataset, space: ClassSpace, classes: ClassList) -> Sequence[str]:
    """A sentence for each number that differs: users work on subsets, and should know it."""
    counted, what = (len(images.anchors), "anchors") if images.anchors else (len(images), "images")
    known = facts(data, classes)
    published = known.get("images", counted)
    if isinstance(published, dict):
        published = published.get(part, counted)
    with_members = {label for label, members in enumerate(space.members) if members}
    found = len(with_members & {label for sample in images.samples for label in sample.accepted})
    of_part = f"'{data}', {part}" if part and isinstance(known.get("images"), dict) else f"'{data}'"
    warnings = []
    if counted != published:
        warnings.append(f"data set {of_part}: {counted} {what}, {published} were published")
    expected = known.get("shown", found if "shown" in options(data) else len(with_members))
    if not images.classes and found < expected:
        warnings.append(f"data set {of_part}: images of {found} of {expected} classes")
    return warnings
