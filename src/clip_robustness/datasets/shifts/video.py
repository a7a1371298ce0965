"""ImageNet-Vid-Robust and YTBB-Robust: frames on disk, and which of them belong to which anchor."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Anchor, Dataset, Sample, check_folder
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.records import read_json
from clip_robustness.errors import InputError
from clip_robustness.registry import shift

_PROBLEMS = {
    "dissimilar", "problematic", "incorrect", "dont know", "deformation", "background-change", "occlusion-increased",
    "blur-increase", "bad-anchor",
}  # fmt: skip
"""What reviewers of YTBB-Robust called frames that are no near-duplicates of their anchor."""
_REACH = 10


@shift("imagenet-vid-robust", conditions={}, tables=False, clustered=True)
def read_vid(name: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """`pmsets.json` (anchor -> frames near it), `labels.json` (frame -> classes), and the frames that these name."""
    folder = Path(place)
    sets, labels = (read_json(_metadata(name, folder, file)) for file in ("pmsets.json", "labels.json"))
    return _assembled(name, folder, space, sets, labels, lambda frame: frame.rpartition("/")[0])


@shift("ytbb-robust", conditions={}, tables=False, clustered=True)
def read_ytbb(name: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    """The anchors that reviewers marked good, with the class of the csv and those that reviewers added.

    Neighbours are judged by the labels of their anchor. They are the reviewed ones of `pmk_labels.json`; where that
    file is missing, all frames within 10 of the anchor in its folder, which a warning says.
    """
    folder = Path(place)
    first = _first_labels(_metadata(name, folder, "ytbb_robustness_test_anchors_full.csv"))
    number = {key: label for label, key in enumerate(space.keys)}
    good: dict[str, list[int]] = {}
    for path, words in _annotations(_metadata(name, folder, "anchor_labels.json")):
        key = _key(path)
        if "good" in words and not words & {"bad", "unsure"}:
            good[key] = sorted(
                {number[word] for word in words & number.keys()} | first.get(key.partition("/")[0], set())
            )
    sets: dict[str, list[str]] = {anchor: [] for anchor in good}
    warnings = []
    if (reviewed := folder / "pmk_labels.json").is_file():
        for pair, words in _annotations(reviewed):
            anchor, frame = (_key(path) for path in pair.split(","))
            if "bad-anchor" in words:
                sets.pop(anchor, None)
            elif anchor in sets and "similar" in words and not words & _PROBLEMS:
                sets[anchor].append(frame)
    else:
        warnings.append(
            f"data set '{name}': without {reviewed} all frames within {_REACH} of an anchor count as near it"
        )
        for anchor, near in sets.items():
            frames = (path.relative_to(folder).as_posix() for path in (folder / anchor).parent.glob("[!.]*.jpg"))
            near += [frame for frame in frames if 0 < _distance(frame, anchor) <= _REACH]
    labels = {frame: good[anchor] for anchor, near in sets.items() for frame in (anchor, *near)}
    return _assembled(name, folder, space, sets, labels, _youtube_id, warnings)


def _youtube_id(frame: str) -> str:
    """A video may have several anchors, each with its frames in a folder `<video>_<ms>`."""
    return frame.partition("/")[0].rpartition("_")[0]


def _assembled(
    name: str,
    folder: Path,
    space: ClassSpace,
    sets: Mapping[str, Sequence[str]],
    labels: Mapping[str, Sequence[int]],
    video_of: Callable[[str], str],
    warnings: Sequence[str] = (),
) -> Dataset:
    """Each frame once, however many anchors share it. An anchor is left out, counted and named, if a frame of its set
    is missing or has no label of the space."""
    frames = {frame for anchor, near in sets.items() for frame in (anchor, *near)}
    faults = {frame: "does not exist" for frame in frames if not (folder / frame).exists()}
    faults |= {f: "has no label of the class space" for f in frames if not _inside(labels.get(f, ()), space)}
    broken = {anchor: [f for f in (anchor, *near) if f in faults] for anchor, near in sets.items()}
    left_out = [anchor for anchor, missing in broken.items() if missing]
    if left_out:
        example = broken[left_out[0]][0]
        sentence = (
            f"data set '{name}': {len(left_out)} of {len(sets)} anchors in {folder} are left out, their sets name "
            f"{len(faults)} frames that can't be used (first: {example} {faults[example]})"
        )
        if len(left_out) == len(sets):
            raise InputError(sentence)
        warnings = [*warnings, sentence]
    anchors = [
        Anchor(anchor, tuple((frame, _distance(frame, anchor)) for frame in near))
        for anchor, near in sorted(sets.items())
        if not broken[anchor]
    ]
    kept = sorted({frame for a in anchors for frame in (a.id, *(near for near, _ in a.near))})
    samples = [
        Sample(frame, folder / frame, labels[frame][0], tuple(labels[frame][1:]), clusters=(video_of(frame),))
        for frame in kept
    ]
    return Dataset(name, tuple(samples), space, tuple(anchors), tuple(warnings))


def _inside(labels: Sequence[int], space: ClassSpace) -> bool:
    return bool(labels) and all(0 <= label < len(space) for label in labels)


def _distance(frame: str, anchor: str) -> int:
    """How many frames apart two frames of a video are, by the numbers in their file names."""
    first, second = (re.search(r"(\d+)\.\w+$", name) for name in (frame, anchor))
    if not first or not second:
        raise InputError(f"frame {frame} of anchor {anchor}: a file name that ends in the frame's number is expected")
    return abs(int(first[1]) - int(second[1]))


def _metadata(name: str, folder: Path, file: str) -> Path:
    """A metadata file of a video set, in its folder or in `metadata` there."""
    check_folder(name, folder)
    for place in (folder / file, folder / "metadata" / file):
        if place.is_file():
            return place
    raise InputError(f"data set '{name}': {folder} has no {file}; put the published one there")


def _annotations(file: Path) -> list[tuple[str, set[str]]]:
    """(key, words) of a file from the reviewers' tool. Numbers index the file's own list of words."""
    content: dict[str, Any] = read_json(file)
    try:
        return [(row["key"], {content["labels"][i] for i in row["labels"]}) for row in content["annotations"]]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{file}: not a file of annotations as published: {error!r}") from None


def _key(path: str) -> str:
    """Folder and file of a frame; some annotations have the path on the annotator's machine before them."""
    return "/".join(Path(path).parts[-2:])


def _first_labels(file: Path) -> dict[str, set[int]]:
    """Folder of an anchor -> its class id. In this file 22 is car and 23 none; everywhere else it is the reverse."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    swapped = {22: 23, 23: 22}
    try:
        return {f"{r['ytid']}_{r['time_ms']}": {swapped.get(int(r["label"]), int(r["label"]))} for r in rows}
    except (KeyError, ValueError) as error:
        raise InputError(f"{file}: the columns ytid, time_ms and label are expected: {error!r}") from None
