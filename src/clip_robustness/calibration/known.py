"""Which known checkpoint a model is: by its spec, by the weights that it has, by the file that they are read from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from clip_robustness.models.spec import ModelSpec, selectable
from clip_robustness.suites.figures import Figures

_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Recognised:
    """What the figures call a model, '' where they have none that are its; how that is known; what to be warned of."""

    model: str = ""
    how: str = ""
    warning: str = ""


def recognise(spec: ModelSpec, weights: str, figures: Figures) -> Recognised:
    """The known checkpoint that a model is. `weights` is the fingerprint of what was loaded.

    Weights count more than a file's digest, and that more than a name: where they tell of another checkpoint than the
    one that the spec names, its figures are not the model's.
    """
    claimed = _claimed(spec, figures)
    if found := figures.weights.get(weights):
        other = claimed and claimed != found
        return Recognised(found, "its weights", _contradicted(spec, claimed, f"that of {found}") if other else "")
    if claimed and (expected := [print_ for print_, model in figures.weights.items() if model == claimed]):
        return Recognised(warning=_contradicted(spec, claimed, f"{weights}, not {' or '.join(expected)}"))
    by_name = Recognised(claimed, ("its name" if spec.named else "its spec") if claimed else "")
    of_files = _digests(spec) if spec.file else {}
    if not spec.file or not of_files:
        return by_name
    digest = _sha256(spec.file)
    if found := next((m for m, known in of_files.items() if digest.startswith(known) and m in figures.models), ""):
        other = claimed and claimed != found
        return Recognised(found, "its file", _contradicted(spec, claimed, f"that of {found}") if other else "")
    if promised := [known for known in of_files.values() if known in spec.file.name]:
        return Recognised(
            warning=f"{spec}: {spec.file} is called by the digest {promised[0]} of published weights, but its SHA-256 "
            f"is {digest[:16]}…: it is damaged, or holds others; published figures are not compared"
        )
    if claimed in of_files:
        said = (
            f"{spec}: it is named after {claimed}, whose file has another SHA-256 than {spec.file}: only a copy that "
            "was saved anew has the same figures"
        )
        return replace(by_name, warning=said)
    return by_name


def _contradicted(spec: ModelSpec, claimed: str, have: str) -> str:
    return (
        f"{spec}: it claims to be {claimed}, but its weights have the fingerprint {have}: it is another checkpoint, or "
        "one that was changed; no figures of that name are compared"
    )


def _claimed(spec: ModelSpec, figures: Figures) -> str:
    """What the spec says that it is: the weights of a library or hub, or a name that the user gave it."""
    models = figures.models
    if spec.named:
        by_name = {selectable(model.partition(":")[2]): model for model in models} | {model: model for model in models}
        if spec.text in by_name:
            return by_name[spec.text]
    if spec.file or spec.folder:
        return ""
    tag = spec.tag
    if spec.kind == "torchvision" and not tag:
        from torchvision.models import get_model_weights, list_models

        tag = get_model_weights(spec.name).DEFAULT.name if spec.name in list_models() else ""
    written = f"{spec.kind}:{spec.name}{'/' if tag else ''}{tag}"
    return written if written in models else ""


def _digests(spec: ModelSpec) -> dict[str, str]:
    """Spec of published weights of an architecture -> the SHA-256 of its file, or its beginning, that the library's
    table of addresses has."""
    return {model: digest for model, url in _addresses(spec.kind, spec.name) if (digest := _promised(url))}


def _addresses(kind: str, name: str) -> Iterator[tuple[str, str]]:
    if kind == "open_clip":
        from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model

        for tag in list_pretrained_tags_by_model(name):
            yield f"open_clip:{name}/{tag}", get_pretrained_cfg(name, tag).get("url", "")
    if kind == "torchvision":
        from torchvision.models import get_model_weights, list_models

        if name in list_models():
            for weights in get_model_weights(name):
                yield f"torchvision:{name}/{weights.name}", weights.url


def _promised(url: str) -> str:
    """`.../models/<digest>/ViT-B-32.pt`, or `resnet50-<beginning of it>.pth`."""
    *_, folder, file = ("", *urlsplit(url).path.split("/"))
    last = Path(file).stem.rpartition("-")[2]
    return next((text for text in (folder, last) if _DIGEST.fullmatch(text)), "")


@cache
def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
