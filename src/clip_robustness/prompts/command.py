"""`clip-robustness prompts search`: learn prompts for a CLIP on labelled images, and judge them by others."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clip_robustness.datasets import places
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import Dataset, Sample, read_folder, read_image, subsample
from clip_robustness.doing import progress
from clip_robustness.files import argument, expanded, whole
from clip_robustness.metrics.intervals import Correct, Estimate, accuracy, paired_difference
from clip_robustness.models import InputError, parse
from clip_robustness.models.classifier import fingerprint_of
from clip_robustness.models.device import set_up_device
from clip_robustness.models.head import class_embeddings
from clip_robustness.models.templates import SCHEMA, Prompts, TokenTemplate, bpe_of, read_prompts
from clip_robustness.models.zero_shot import Clip, load_clip
from clip_robustness.prompts.search import Budget, Found, Task, search, weights_of

_IMAGES_AT_ONCE = 64


def main(name: str, arguments: Sequence[str]) -> int:
    """Search restart by restart. Each is saved as soon as it is done; a later call goes on after the last one saved."""
    _search(_parser().parse_args(arguments))
    return 0


def _search(options: argparse.Namespace) -> None:
    classes, device = class_list(options.classes), set_up_device(options.device)
    clip = load_clip(parse(options.model), device)
    vocabulary = bpe_of(clip.tokenizer)
    seen, unseen = _split(options, classes)
    budget = Budget(options.before, options.after, options.sweeps, options.candidates)
    settings = {
        "model": fingerprint_of(clip.net, clip.architecture, clip.preprocessing),
        "classes": hashlib.sha256(repr(classes.names).encode()).hexdigest()[:16],
        "images": hashlib.sha256(repr([sample.id for sample in seen.samples]).encode()).hexdigest()[:16],
        "seed": options.seed,
        **asdict(budget),
    }
    found = _earlier(options.out, settings)
    task = _task(clip, classes, seen)
    with progress(options.restarts * budget.steps, "prompt search", "step") as done:
        done(len(found) * budget.steps)
        for restart in range(len(found), options.restarts):
            found.append(search(task, budget, options.seed + restart, lambda: done(1)))
            _save(options.out, settings, found, vocabulary)
    learned, other = read_prompts(str(options.out)), read_prompts(options.against)
    judges = _task(clip, classes, unseen)
    ours, theirs = _correct(judges, learned), _correct(judges, other)
    print(
        f"{len(learned.templates)} prompts from {len(found)} restarts on {len(seen)} images; on {len(unseen)} others:"
    )
    for name, estimate in (
        (learned.name, accuracy(ours)),
        (other.name, accuracy(theirs)),
        ("difference", paired_difference(ours, theirs)),
    ):
        print(f"  {name:20} {_percent(estimate)}")
    print(f"use them as {options.model}{'&' if '?' in options.model else '?'}prompts={options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clip-robustness prompts", description=__doc__)
    command = parser.add_subparsers(required=True, metavar="search").add_parser(
        "search", formatter_class=argparse.ArgumentDefaultsHelpFormatter, help="learn prompts"
    )
    command.add_argument("--model", required=True, metavar="SPEC", help="an open_clip: model, or mini:clip")
    command.add_argument("--data", required=True, metavar="FOLDER", help="images, one folder a class; or mini:NAME")
    command.add_argument("--out", required=True, type=argument, metavar="JSON", help="where the prompts go")
    command.add_argument("--classes", default="imagenet", metavar="NAME_OR_FILE", help="class list")
    command.add_argument("--images", type=int, default=2000, metavar="N", help="images to search on, class by class")
    command.add_argument("--held-out", type=int, default=2000, metavar="N", help="other images to judge by")
    command.add_argument("--against", default="plain", metavar="PROMPTS", help="what to compare with")
    command.add_argument("--restarts", type=int, default=4, metavar="N", help="searches from other random tokens")
    for field, meaning in (
        ("before", "tokens before the class name"),
        ("after", "tokens after it"),
        ("sweeps", "rounds over all tokens"),
        ("candidates", "tokens tried at a position"),
    ):
        command.add_argument(f"--{field}", type=int, default=getattr(Budget, field), metavar="N", help=meaning)
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the images and the restarts")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser


def _split(options: argparse.Namespace, classes: ClassList) -> tuple[Dataset, Dataset]:
    """Images to search on, and others to judge by; both class by class."""
    name = options.data
    folder = expanded(places.folder(name))
    images = read_folder(name, folder, classes)
    for warning in images.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    seen = subsample(images, options.images, options.seed)
    chosen = subsample(
        images, options.images + options.held_out, options.seed
    )  # which has those of `seen` among its own
    unseen = Dataset(name, tuple(sample for sample in chosen.samples if sample not in set(seen.samples)))
    if not len(unseen):
        raise InputError(f"--images {options.images} leaves none of the {len(images)} images of {name} to judge by")
    return seen, unseen


def _task(clip: Clip, classes: ClassList, images: Dataset) -> Task:
    device = next(clip.net.parameters()).device
    blocks = []
    with torch.inference_mode(), progress(len(images), "image embeddings", "image") as done:
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            samples = images.samples[start : start + _IMAGES_AT_ONCE]
            batch = torch.stack([clip.preprocessing.normalised(_read(sample)) for sample in samples])
            blocks.append(clip.net.encode_image(batch.to(device), normalize=True))
            done(len(samples))
    labels = torch.tensor([sample.label for sample in images.samples], device=device)
    return Task(clip.net, clip.tokenizer, classes.names, torch.cat(blocks).clone(), labels)


def _read(sample: Sample) -> Any:
    try:
        return read_image(sample.path)
    except OSError as error:
        raise InputError(f"{sample.path} can't be decoded ({error}); mend or remove it") from error


def _correct(task: Task, prompts: Prompts) -> Correct:
    head: Tensor = class_embeddings(task.clip, task.tokenizer, task.names, prompts)
    return np.asarray(((task.features @ head).argmax(1) == task.labels).cpu())


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:5.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _earlier(file: Path, settings: dict[str, Any]) -> list[Found]:
    """What earlier calls found with the same settings."""
    if not file.exists():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["settings"] != settings:
            raise InputError(f"--out {file}: it was made with other settings, models or images; give another file")
        return [
            Found(TokenTemplate(tuple(f["before"]), tuple(f["after"])), f["loss"], f["accuracy"])
            for f in content["restarts"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--out {file}: it exists and is no file of an earlier search; give another one") from error


def _save(file: Path, settings: dict[str, Any], found: Sequence[Found], vocabulary: Any) -> None:
    restarts = [asdict(one.template) | {"loss": one.loss, "accuracy": one.accuracy} for one in found]
    prompts = [
        asdict(template)
        | {"weight": weight, "text": f"{vocabulary.decode(template.before)}{{}} {vocabulary.decode(template.after)}"}
        for template, weight in weights_of(found).items()
    ]
    content = {"schema": SCHEMA, "settings": settings, "restarts": restarts, "prompts": prompts}
    with whole(file) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
