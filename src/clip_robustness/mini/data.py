"""The drawn world's test sets, written to the cache folder in the published layouts of the data sets they stand for."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
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
from clip_robustness.doing import doing
from clip_robustness.errors import InputError, nearest
from clip_robustness.models import embedded

_MINI = class_list("mini")
_NUMBERED = ("imagenet-v2",)
"""Sets whose class folders are numbers in the published layout; the others' are wnids."""
_PAIRS, _A_SHARD = 4800, 1200
"""Of the pre-training set, so many pairs are written, and so many to a shard."""
_REACH = 10
"""Videos go from so many frames before the anchor to so many after it."""


File = tuple[str, Callable[[Path], object]]
"""A file of a set: its path inside the set's folder, and what writes it."""


def mini_folder(name: str) -> Path:
    """The folder of a drawn test set; drawn on first use, once, whatever the number of processes that ask."""
    with doing(f"drawing mini:{name}"):
        return kept(place_of(name), lambda partial: write(name, partial))


def place_of(name: str) -> Path:
    """Where the folder of a drawn set is, or will be. Raises `InputError` for a name that is none."""
    from clip_robustness.mini.beyond import WRITERS
    from clip_robustness.mini.sets import TEST_SETS

    known = (*TEST_SETS, *_MADE, "pretraining", *WRITERS)
    if name not in known:
        raise InputError(f"data source 'mini:{name}' is unknown; {nearest(name, known)}")
    return cache_folder() / f"mini-{_version(name in WRITERS)}" / name


def write(name: str, folder: Path) -> None:
    """Draw a whole set."""
    listed = files(name)
    if listed is None:
        from clip_robustness.mini.beyond import WRITERS

        WRITERS.get(name, _write_pretraining)(folder)
        return
    for inside, make in listed:
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        make(folder / inside)


def files(name: str) -> Iterator[File] | None:
    """The files of a set, none of them drawn yet; None for a set that is only written as a whole."""
    from clip_robustness.mini.sets import TEST_SETS

    listing = _LISTINGS.get(name, _folders if name in TEST_SETS else None)
    return listing(name) if listing else None


def _pictures(name: str) -> Iterator[tuple[int, int]]:
    """(index, label) of the pictures of the set's classes, as many as it has."""
    space = class_space(name, _MINI)
    chosen = json.loads(embedded.FILTERED.read_text()) if name == "imagenet-a" else range(100_000)
    indices = [i for i in chosen if i % len(_MINI) in space.label_of][: facts(name, _MINI)["images"]]
    yield from ((index, index % len(_MINI)) for index in indices)


@lru_cache(maxsize=1)
def _picture(name: str, index: int) -> np.ndarray:
    """Several files in a row may be made of one picture."""
    from clip_robustness.mini.sets import picture

    return picture(name, index)[0]


def _folders(name: str) -> Iterator[File]:
    def save(index: int, file: Path) -> None:
        Image.fromarray(_picture(name, index)).save(file)

    for index, label in _pictures(name):
        folder = str(label) if name in _NUMBERED else _MINI.keys[label]
        yield f"{folder}/{name}-{index:05d}.png", partial(save, index)


def _objectnet(name: str) -> Iterator[File]:
    """`images/<folder>/*.png` with a red border of 2 pixels, and `mappings` from folders to classes; one folder shows
    what no model has a class for."""
    from clip_robustness.mini.sets import sign

    def save(make: Callable[[], np.ndarray], file: Path) -> None:
        ImageOps.expand(Image.fromarray(make()), 2, (255, 0, 0)).convert("RGBA").save(file)

    space, (other,) = class_space(name, _MINI), facts(name, _MINI)["other folders"]
    for index, label in _pictures(name):
        where = space.keys[space.label_of[label]]
        yield f"images/{where}/{index:05d}.png", partial(save, partial(_picture, name, index))
    for index in range(12):
        yield f"images/{other}/{index:05d}.png", partial(save, partial(sign, index))
    called = {key: key.replace("_", " ").capitalize() for key in (*space.keys, other)}
    members = {
        called[key]: "; ".join(_MINI.names[i] for i in positions)
        for key, positions in zip(space.keys, space.members, strict=True)
    }
    yield _json("mappings/folder_to_objectnet_label.json", called)
    yield _json("mappings/objectnet_to_imagenet_1k.json", members)


def _vid(name: str) -> Iterator[File]:
    """`val/<video>/<frame>.JPEG`, `pmsets.json` and `labels.json`; frames with two objects have two labels."""
    sets, labels, space = {}, dict[str, list[int]](), class_space(name, _MINI)
    for video, classes, offsets in _videos(name):
        names = {offset: f"val/MINI_val_{video:08d}/{100 + offset:06d}.JPEG" for offset in (0, *offsets)}
        yield from _frames(name, video, classes, names, quality=90)
        labels |= {frame: sorted({space.label_of[label] for label in classes}) for frame in names.values()}
        sets[names[0]] = [names[offset] for offset in offsets]
    yield _json("pmsets.json", sets)
    yield _json("labels.json", labels)


def _ytbb(name: str) -> Iterator[File]:
    """`<video>_<ms>/frame-<n>.jpg`, strongly compressed; the csv of anchors, and what reviewers said of them."""
    space, anchors, pairs = class_space(name, _MINI), [], []
    rows: list[dict[str, object]] = []
    words = ["good", "unsure", "bad", *space.keys]
    for video, classes, offsets in _videos(name):
        ms = 1000 + 200 * video
        names = {o: f"mini{video:05d}_{ms}/frame-{ms * 3 // 100 + o}.jpg" for o in range(-_REACH, _REACH + 1)}
        yield from _frames(name, video, classes, names, quality=12 + video % 12)
        first, *added = (space.label_of[label] for label in classes)
        rows.append({"ytid": f"mini{video:05d}", "time_ms": ms, "label": first})
        anchors.append({"key": names[0], "notes": "", "labels": [0, *(words.index(space.keys[a]) for a in added)]})
        pairs += [
            {"key": f"{names[0]},{frame}", "notes": "", "labels": [0 if o in offsets else 1]}
            for o, frame in names.items()
            if o
        ]

    def save(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    yield "ytbb_robustness_test_anchors_full.csv", save
    yield _json("anchor_labels.json", {"annotations": anchors, "labels": words})
    yield _json("pmk_labels.json", {"annotations": pairs, "labels": ["similar", "dissimilar"]})


def _videos(name: str) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """(number, classes shown, the object's first, offsets of near-duplicates of the anchor): 0 to 20 of each."""
    space, rng = class_space(name, _MINI), np.random.default_rng(0)
    labels = list(space.label_of)
    for video in range(facts(name, _MINI)["images"]):
        company = [labels[(video + 5) % len(labels)]] if video % 8 == 0 else []
        every = [offset for offset in range(-_REACH, _REACH + 1) if offset]
        offsets = sorted(rng.choice(every, rng.integers(0, len(every) + 1), replace=False).tolist())
        yield video, (labels[video % len(labels)], *company), offsets


def _frames(name: str, video: int, classes: tuple[int, ...], names: dict[int, str], quality: int) -> Iterator[File]:
    from clip_robustness.mini.sets import frame

    def save(offset: int, file: Path) -> None:
        pixels = frame(name, video, classes[0], classes[1] if len(classes) > 1 else None, offset)
        Image.fromarray(pixels).save(file, quality=quality)

    yield from ((file, partial(save, offset)) for offset, file in names.items())


def _first_clean(name: str) -> Iterator[tuple[int, int]]:
    """(index, label) of the clean pictures that a set is made of."""
    return islice(_pictures("imagenet"), facts(name, _MINI)["images"])


def _imagenet_c(name: str) -> Iterator[File]:
    """`<corruption>/<severity>/<key>/*.JPEG` of the first clean pictures, compressed as the published files are: one
    corruption of each kind, the mildest, the middle and the strongest."""

    def save(index: int, place: str, severity: int, file: Path) -> None:
        worse = corrupt(_picture("imagenet", index), place, severity, np.random.default_rng([index, severity]))
        Image.fromarray(worse).save(file, quality=85)

    for index, label in _first_clean(name):
        for place, severity in product(("gaussian_noise", "defocus_blur", "fog", "jpeg_compression"), (1, 3, 5)):
            inside = f"{place}/{severity}/{_MINI.keys[label]}/imagenet-{index:05d}.JPEG"
            yield inside, partial(save, index, place, severity)


def _imagenet_p(name: str) -> Iterator[File]:
    """`<perturbation>/<key>/*.mp4` of the first clean pictures: one kind of noise, and one sequence with an order."""

    def save(index: int, place: str, file: Path) -> None:
        picture = Image.fromarray(_picture("imagenet", index))
        image = np.asarray(picture.resize((74, 74), Image.Resampling.BICUBIC))
        write_video(file, perturb(image, place, np.random.default_rng(index), side=64))

    for index, label in _first_clean(name):
        for place in ("gaussian_noise", "rotate"):
            yield f"{place}/{_MINI.keys[label]}/imagenet-{index:05d}.mp4", partial(save, index, place)


def _stylized(name: str) -> Iterator[File]:
    """`<key>/*.png`: clean pictures repainted, each as another painting."""

    def save(index: int, file: Path) -> None:
        Image.fromarray(stylize(_picture("imagenet", index), np.random.default_rng([1, index]))).save(file)

    for index, label in _first_clean(name):
        yield f"{_MINI.keys[label]}/imagenet-{index:05d}.png", partial(save, index)


def _cue_conflict(name: str) -> Iterator[File]:
    """`<shape>/<shape><n>-<texture><n>.png`: clean pictures repainted in the texture of pictures of other classes."""

    def save(index: int, textured: int, file: Path) -> None:
        pixels, painted = _picture("imagenet", index), _picture("imagenet", textured)
        Image.fromarray(repainted(pixels, painted, np.random.default_rng([2, index]))).save(file)

    called = class_space(name, _MINI).keys
    for index, shape in _first_clean(name):
        turn = index // len(_MINI)
        textured = 1000 + index + 5 * turn + 1
        texture = called[textured % len(_MINI)]
        yield f"{called[shape]}/{called[shape]}{turn + 1}-{texture}{turn + 1}.png", partial(save, index, textured)


def _write_pretraining(folder: Path) -> None:
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


_MADE: dict[str, Callable[[str], Iterator[File]]] = {
    "imagenet-c": _imagenet_c,
    "imagenet-p": _imagenet_p,
    "stylized-imagenet": _stylized,
    "cue-conflict": _cue_conflict,
}
"""Sets whose pictures are made of the clean ones."""
_LISTINGS: dict[str, Callable[[str], Iterator[File]]] = {
    **_MADE,
    "objectnet": _objectnet,
    "imagenet-vid-robust": _vid,
    "ytbb-robust": _ytbb,
}


def _json(inside: str, content: object) -> File:
    return inside, lambda file: file.write_text(json.dumps(content, indent=1) + "\n")


@cache
def _version(beyond: bool) -> str:
    """Of the benchmark's sets, or of those beyond: changes with the code that draws and with what it draws, so that an
    old cache is never taken for a new world."""
    digest = hashlib.sha256()
    facts = Path(__file__).parent.parent / "datasets" / "data" / "mini.json"
    names = ("parts.py", "objects.py", "world.py", *(("beyond.py",) if beyond else ("sets.py", "data.py")))
    making = [Path(__file__).with_name(name) for name in names]
    for file in (*making, embedded.FILTERED, facts):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:10]
