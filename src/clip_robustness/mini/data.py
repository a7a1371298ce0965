"""The drawn world's test sets, written to the cache folder in the published layouts of the data sets they stand for."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, product
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from clip_robustness.cache import cache_folder, kept
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.conditions.perturbations import perturb
from clip_robustness.conditions.stylized import repainted, stylize
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.label_space import class_space, facts
from clip_robustness.datasets.mp4 import write_video
from clip_robustness.errors import InputError, nearest
from clip_robustness.models import embedded

_MINI = class_list("mini")
_NUMBERED = ("imagenet-v2",)
"""Sets whose class folders are numbers in the published layout; the others' are wnids."""
_PAIRS, _A_SHARD = 4800, 1200
"""Of the pre-training set, so many pairs are written, and so many to a shard."""
_REACH = 10
"""Videos go from so many frames before the anchor to so many after it."""


def mini_folder(name: str) -> Path:
    """The folder of a drawn test set; drawn on first use, once, whatever the number of processes that ask."""
    from clip_robustness.mini.beyond import WRITERS
    from clip_robustness.mini.sets import TEST_SETS

    known = (*TEST_SETS, *_MADE, "pretraining", *WRITERS)
    if name not in known:
        raise InputError(f"data source 'mini:{name}' is unknown; {nearest(name, known)}")
    place = cache_folder() / f"mini-{_version(name in WRITERS)}" / name
    if name in WRITERS:
        return kept(place, WRITERS[name])
    write = _WRITERS.get(name, _write_folders)
    return kept(place, lambda partial: write(name, partial))


def _pictures(name: str) -> Iterator[tuple[int, np.ndarray, int]]:
    """(index, pixels, label) of the pictures of the set's classes, as many as it has."""
    from clip_robustness.mini.sets import picture

    space = class_space(name, _MINI)
    chosen = json.loads(embedded.FILTERED.read_text()) if name == "imagenet-a" else range(100_000)
    indices = [i for i in chosen if i % len(_MINI) in space.label_of][: facts(name, _MINI)["images"]]
    for index in indices:
        yield index, *picture(name, index)


def _write_folders(name: str, folder: Path) -> None:
    for index, pixels, label in _pictures(name):
        file = folder / (str(label) if name in _NUMBERED else _MINI.keys[label]) / f"{name}-{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)


def _write_objectnet(name: str, folder: Path) -> None:
    """`images/<folder>/*.png` with a red border of 2 pixels, and `mappings` from folders to classes; one folder shows
    what no model has a class for."""
    from clip_robustness.mini.sets import sign

    space, (other,) = class_space(name, _MINI), facts(name, _MINI)["other folders"]
    shown = [(space.keys[space.label_of[label]], index, pixels) for index, pixels, label in _pictures(name)]
    for where, index, pixels in [*shown, *((other, index, sign(index)) for index in range(12))]:
        file = folder / "images" / where / f"{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        ImageOps.expand(Image.fromarray(pixels), 2, (255, 0, 0)).convert("RGBA").save(file)
    called = {key: key.replace("_", " ").capitalize() for key in (*space.keys, other)}
    members = {
        called[key]: "; ".join(_MINI.names[i] for i in positions)
        for key, positions in zip(space.keys, space.members, strict=True)
    }
    _write_json(folder / "mappings" / "folder_to_objectnet_label.json", called)
    _write_json(folder / "mappings" / "objectnet_to_imagenet_1k.json", members)


def _write_vid(name: str, folder: Path) -> None:
    """`val/<video>/<frame>.JPEG`, `pmsets.json` and `labels.json`; frames with two objects have two labels."""
    sets, labels = {}, dict[str, list[int]]()
    for video, classes, offsets in _videos(name):
        names = {offset: f"val/MINI_val_{video:08d}/{100 + offset:06d}.JPEG" for offset in (0, *offsets)}
        _write_frames(name, folder, video, classes, names, quality=90)
        space = class_space(name, _MINI)
        labels |= {frame: sorted({space.label_of[label] for label in classes}) for frame in names.values()}
        sets[names[0]] = [names[offset] for offset in offsets]
    _write_json(folder / "pmsets.json", sets)
    _write_json(folder / "labels.json", labels)


def _write_ytbb(name: str, folder: Path) -> None:
    """`<video>_<ms>/frame-<n>.jpg`, strongly compressed; the csv of anchors, and what reviewers said of them."""
    space, rows, anchors, pairs = class_space(name, _MINI), [], [], []
    words = ["good", "unsure", "bad", *space.keys]
    for video, classes, offsets in _videos(name):
        ms = 1000 + 200 * video
        names = {o: f"mini{video:05d}_{ms}/frame-{ms * 3 // 100 + o}.jpg" for o in range(-_REACH, _REACH + 1)}
        _write_frames(name, folder, video, classes, names, quality=12 + video % 12)
        first, *added = (space.label_of[label] for label in classes)
        rows.append({"ytid": f"mini{video:05d}", "time_ms": ms, "label": first})
        anchors.append({"key": names[0], "notes": "", "labels": [0, *(words.index(space.keys[a]) for a in added)]})
        pairs += [
            {"key": f"{names[0]},{frame}", "notes": "", "labels": [0 if o in offsets else 1]}
            for o, frame in names.items()
            if o
        ]
    with (folder / "ytbb_robustness_test_anchors_full.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _write_json(folder / "anchor_labels.json", {"annotations": anchors, "labels": words})
    _write_json(folder / "pmk_labels.json", {"annotations": pairs, "labels": ["similar", "dissimilar"]})


def _videos(name: str) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """(number, classes shown, the object's first, offsets of near-duplicates of the anchor): 0 to 20 of each."""
    space, rng = class_space(name, _MINI), np.random.default_rng(0)
    labels = list(space.label_of)
    for video in range(facts(name, _MINI)["images"]):
        company = [labels[(video + 5) % len(labels)]] if video % 8 == 0 else []
        every = [offset for offset in range(-_REACH, _REACH + 1) if offset]
        offsets = sorted(rng.choice(every, rng.integers(0, len(every) + 1), replace=False).tolist())
        yield video, (labels[video % len(labels)], *company), offsets


def _write_frames(
    name: str, folder: Path, video: int, classes: tuple[int, ...], names: dict[int, str], quality: int
) -> None:
    from clip_robustness.mini.sets import frame

    for offset, file in names.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        pixels = frame(name, video, classes[0], classes[1] if len(classes) > 1 else None, offset)
        Image.fromarray(pixels).save(folder / file, quality=quality)


def _first_clean(name: str) -> Iterator[tuple[int, np.ndarray, int]]:
    """(index, pixels, label) of the clean pictures that a set is made of."""
    return islice(_pictures("imagenet"), facts(name, _MINI)["images"])


def _write_imagenet_c(name: str, folder: Path) -> None:
    """`<corruption>/<severity>/<key>/*.JPEG` of the first clean pictures, compressed as the published files are: one
    corruption of each kind, the mildest, the middle and the strongest."""
    for index, pixels, label in _first_clean(name):
        for place, severity in product(("gaussian_noise", "defocus_blur", "fog", "jpeg_compression"), (1, 3, 5)):
            file = folder / place / str(severity) / _MINI.keys[label] / f"imagenet-{index:05d}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            worse = corrupt(pixels, place, severity, np.random.default_rng([index, severity]))
            Image.fromarray(worse).save(file, quality=85)


def _write_imagenet_p(name: str, folder: Path) -> None:
    """`<perturbation>/<key>/*.mp4` of the first clean pictures: one kind of noise, and one sequence with an order."""
    for index, pixels, label in _first_clean(name):
        for place in ("gaussian_noise", "rotate"):
            file = folder / place / _MINI.keys[label] / f"imagenet-{index:05d}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            image = np.asarray(Image.fromarray(pixels).resize((74, 74), Image.Resampling.BICUBIC))
            write_video(file, perturb(image, place, np.random.default_rng(index), side=64))


def _write_stylized(name: str, folder: Path) -> None:
    """`<key>/*.png`: clean pictures repainted, each as another painting."""
    for index, pixels, label in _first_clean(name):
        file = folder / _MINI.keys[label] / f"imagenet-{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stylize(pixels, np.random.default_rng([1, index]))).save(file)


def _write_cue_conflict(name: str, folder: Path) -> None:
    """`<shape>/<shape><n>-<texture><n>.png`: clean pictures repainted in the texture of pictures of other classes."""
    from clip_robustness.mini.sets import picture

    called = class_space(name, _MINI).keys
    for index, pixels, shape in _first_clean(name):
        turn = index // len(_MINI)
        painted, texture = picture("imagenet", 1000 + index + 5 * turn + 1)
        file = folder / called[shape] / f"{called[shape]}{turn + 1}-{called[texture]}{turn + 1}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(repainted(pixels, painted, np.random.default_rng([2, index]))).save(file)


def _write_pretraining(name: str, folder: Path) -> None:
    """The first pairs of the pre-training set, the near-duplicates of test pictures among them, as img2dataset writes
    them: a `.png`, a `.txt` and a `.json` a pair in `.tar` shards."""
    from clip_robustness.mini.sets import pretraining_pair

    folder.mkdir(parents=True)
    for start in range(0, _PAIRS, _A_SHARD):
        with tarfile.open(folder / f"{start // _A_SHARD:05d}.tar", "w") as tar:
            for index in range(start, start + _A_SHARD):
                pixels, caption = pretraining_pair(index)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                about = json.dumps({"key": f"{index:09d}", "caption": caption, "status": "success"})
                for ending, content in (
                    ("png", buffer.getvalue()),
                    ("txt", caption.encode()),
                    ("json", about.encode()),
                ):
                    member = tarfile.TarInfo(f"{index:09d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


_MADE: dict[str, Callable[[str, Path], None]] = {
    "imagenet-c": _write_imagenet_c,
    "imagenet-p": _write_imagenet_p,
    "stylized-imagenet": _write_stylized,
    "cue-conflict": _write_cue_conflict,
}
"""Sets whose pictures are made of the clean ones."""
_WRITERS: dict[str, Callable[[str, Path], None]] = {
    **_MADE,
    "pretraining": _write_pretraining,
    "objectnet": _write_objectnet,
    "imagenet-vid-robust": _write_vid,
    "ytbb-robust": _write_ytbb,
}


def _write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


@cache
def _version(beyond: bool) -> str:
    """Of the benchmark's sets, or of those beyond: changes with the code that draws and with what it draws, so that an
    old cache is never taken for a new world."""
    digest = hashlib.sha256()
    facts = Path(__file__).parent.parent / "datasets" / "data" / "mini.json"
    names = ("objects.py", "world.py", *(("beyond.py",) if beyond else ("sets.py", "data.py")))
    making = [Path(__file__).with_name(name) for name in names]
    for file in (*making, embedded.FILTERED, facts):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:10]
