"""Set-ups of known models in the drawn world, right ones and ones with a cause planted, and what a calibration says."""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from clip_robustness import models, suites
from clip_robustness.calibration.command import calibrate, settings_for
from clip_robustness.calibration.report import Calibration
from clip_robustness.calibration.run import figures_of
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.evaluation.session import Session
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import embedded
from clip_robustness.models.spec import ModelSpec, parse

CLASSES = class_list("mini")
CLIP = f"open_clip:mini-clip@{embedded.CLIP_WEIGHTS}"
SETS = {"imagenet": "imagenet-sketch", "imagenet-a": "imagenet-a", "imagenet-r": "imagenet-r"}
"""What a suite calls a set -> the drawn pictures in it: those that the models get wrong often enough."""
TOLERANCE = 0.001
"""Less than an image: the same files and weights give the same figures."""


def write(place: Path, drawn: str, *, each=10, change=lambda pixels: pixels, folder=lambda key: key) -> Path:
    """`each` pictures a class, larger than the models take them and not square."""
    source = mini_folder(drawn)
    for key in sorted(entry.name for entry in source.iterdir() if entry.is_dir()):
        (place / folder(key)).mkdir(parents=True, exist_ok=True)
        for file in sorted((source / key).glob("*.png"))[:each]:
            wide = Image.new("RGB", (120, 88), (127, 127, 127))
            wide.paste(Image.open(file).convert("RGB").resize((88, 88), Image.Resampling.BICUBIC), (16, 0))
            Image.fromarray(change(np.asarray(wide))).save(place / folder(key) / file.name)
    return place


def session_of(
    folder: Path,
    spec: ModelSpec,
    data: dict[str, Path],
    samples: int | None = None,
    *,
    classes: ClassList = CLASSES,
    conditions: str = "",
) -> Session:
    """Of a suite with these sets and further conditions, beside the figures of its folder."""
    named = "".join(f"{name} = '{place}'\n" for name, place in data.items())
    figures = 'figures = "figures.csv"\n' if (folder / "figures.csv").exists() else ""
    shifts = [name for name in data if name not in ("imagenet", "imagenet-c")]
    (folder / "suite.toml").write_text(
        f'classes = "{classes.name}"\n{figures}[data]\n{named}[conditions]\nnatural = {shifts}\n{conditions}\n'
    )
    suite = suites.load(str(folder / "suite.toml"))
    options = argparse.Namespace(samples=samples, device="cpu", batch_size=64, out=folder / "reports" / "out")
    return Session(settings_for(suite, (spec,), options))


def calibration(
    folder: Path,
    text: str,
    data: dict[str, Path],
    figures: dict[str, float],
    *,
    diagnose: bool = True,
    samples: int | None = None,
    tolerance: float = TOLERANCE,
    classes: ClassList = CLASSES,
    conditions: str = "",
) -> Calibration:
    """Of a model whose figures on the sets of `data` are published: condition -> accuracy."""
    spec = parse(text)
    weights = models.load(spec, classes).weights
    count = {name: sum(1 for file in place.rglob("*") if file.is_file()) for name, place in data.items()}
    rows = [
        f"ours,{condition}@{classes.name},{value},{count.get(condition, count['imagenet'])},{tolerance},\n"
        for condition, value in figures.items()
    ]
    (folder / "figures.csv").write_text(
        "model,condition,value,n,tolerance,fingerprint\n" + "".join(rows) + f"ours,,,,,{weights}\n"
    )
    session = session_of(folder, spec, data, samples, classes=classes, conditions=conditions)
    return calibrate(session, figures_of(session.settings.suite), diagnose=diagnose)


def figures(folder: Path, spec: str, data: dict[str, Path]) -> dict[str, float]:
    """What the set-up gives."""
    names = ["clean" if name == "imagenet" else name for name in data]
    found = calibration(folder, spec, data, dict.fromkeys(names, 0.5), diagnose=False)
    return {comparison.condition: comparison.value for comparison in found.comparisons}


def saved_anew(data, folder, kind):
    """The same pictures in files of another kind."""
    for name, place in data.items():
        for file in place.rglob("*.png"):
            target = folder / name / file.relative_to(place).with_suffix(f".{kind}")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(file).save(target, **({"lossless": True} if kind == "webp" else {}))
    return {name: folder / name for name in data}


def renamed(data, folder, called):
    for name, place in data.items():
        for inner in place.iterdir():
            shutil.copytree(inner, folder / name / called[inner.name])
    return {name: folder / name for name in data}
