"""`clip-robustness prefetch`: bring weights, tokenizers and data of a suite that come over the network into one folder,
for a machine without one.

What can't be fetched is named with what to do by hand. `env.sh` in the folder says where all is: source it there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_robustness import suites
from clip_robustness.errors import one_line
from clip_robustness.files import argument, whole
from clip_robustness.models.spec import ModelSpec, parse_all
from clip_robustness.suites import Suite

_PLACES = {
    "HF_HUB_CACHE": "huggingface/hub",
    "HF_DATASETS_CACHE": "huggingface/datasets",
    "TORCH_HOME": "torch",
    "CLIP_ROBUSTNESS_CACHE": "clip-robustness",
}
"""Variable that the libraries read -> folder in the one that is filled."""
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
_CHILD = "CLIP_ROBUSTNESS_PREFETCH"
"""Set where the variables above are: libraries read them when they are imported."""


@dataclass(frozen=True)
class Item:
    """Something that comes over the network, how it is fetched, and what to do `by_hand` where that fails."""

    name: str
    fetch: Callable[[], object]
    by_hand: str


def main(name: str, arguments: Sequence[str]) -> int:
    """0 where all is there, 1 where something can't be fetched."""
    options = _parser().parse_args(arguments)
    folder: Path = options.to.resolve()
    if os.environ.get(_CHILD) != str(folder):
        command = [sys.executable, "-m", "clip_robustness", name, *arguments]
        return subprocess.run(
            command, env={**os.environ, **variables(folder), _CHILD: str(folder)}, check=False
        ).returncode
    suite = suites.load(options.suite)
    specs = [spec for text in options.model for spec in parse_all(text)] or list(models_of(suite))
    folder.mkdir(parents=True, exist_ok=True)
    missing = fetched([*of_models(specs, suite, folder, heads=options.heads), *of_data(suite)])
    with whole(folder / "env.sh") as partial:
        partial.write_text(environment(), encoding="utf-8")
    print(f"on the other machine: source {shlex.quote(str(folder / 'env.sh'))}, wherever the folder lies there")
    return 1 if missing else 0


def variables(folder: Path) -> dict[str, str]:
    return {variable: str(folder / place) for variable, place in _PLACES.items()}


def environment() -> str:
    """A script that points the libraries to the folder that it lies in, and keeps them from the network."""
    here = 'here=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)'
    lines = [f'export {variable}="$here/{place}"' for variable, place in _PLACES.items()]
    return "\n".join([here, *lines, *(f"export {variable}=1" for variable in _OFFLINE), ""])


def fetched(items: Sequence[Item]) -> list[Item]:
    """Fetch one after the other, with a line each; returns those that can't be had."""
    missing = []
    for item in items:
        try:
            item.fetch()
            print(one_line(f"there: {item.name}"))
        except Exception as error:  # one that fails must not keep the others from being fetched
            missing.append(item)
            print(one_line(f"missing: {item.name}: {str(error) or type(error).__name__}"))
            print(one_line(f"  by hand: {item.by_hand}"))
    return missing


def models_of(suite: Suite) -> Iterator[ModelSpec]:
    given = suite.settings
    texts = (*given.candidate, *given.supervised, *([given.surrogate] if given.surrogate else []))
    yield from dict.fromkeys(spec for text in texts for spec in parse_all(text, suite.file.parent))


def of_models(specs: Sequence[ModelSpec], suite: Suite, folder: Path, *, heads: bool) -> Iterator[Item]:
    """Weights and tokenizers; with `heads` zero-shot heads, too, which take hours on a CPU for 80 000 prompts."""

    def load(spec: ModelSpec) -> object:
        import torch

        from clip_robustness import models
        from clip_robustness.datasets.classes import class_list

        if spec.kind in ("open_clip", "transformers") and not heads:
            from clip_robustness.models import transformers_clip, zero_shot

            loader = zero_shot if spec.kind == "open_clip" else transformers_clip
            return loader.load_clip(spec, torch.device("cpu"))
        return models.load(spec, class_list(suite.classes))

    for spec in specs:
        yield Item(str(spec), lambda spec=spec: load(spec), _by_hand(spec, folder))  # type: ignore[misc]


def of_data(suite: Suite) -> Iterator[Item]:
    """Sets that are no folders: tables of the hub, shards, drawn ones."""
    from clip_robustness.datasets import load, places
    from clip_robustness.datasets.classes import class_list

    for condition in {suite.data_of(c): c for c in suite.conditions}.values():
        data = suite.data_of(condition)
        source = suite.source(data)
        if source is None or ":" not in source or Path(source).exists():
            continue

        def read(data: str = data, source: str = source, part: str = condition.part) -> object:
            return load.load(data, places.folder(source), class_list(suite.classes), part)

        kind, _, place = source.partition(":")
        hand = {
            "hf": f"hf download --repo-type dataset {place.partition('?')[0]} with a network; name its folder",
            "wds": "download the shards, and name the files",
        }.get(kind, "copy it, and name where it is")
        yield Item(f"{data} = {source}", read, f"{hand} under [data]")


def _by_hand(spec: ModelSpec, folder: Path) -> str:
    hub = f"hf download {{}} --cache-dir {shlex.quote(str(folder / _PLACES['HF_HUB_CACHE']))} where there is a network"
    if spec.file or spec.folder:
        return f"copy {spec.file or spec.folder} to the other machine, and what its tokenizer needs"
    if spec.name.startswith("hf-hub:") or spec.kind == "transformers":
        return hub.format(spec.name.removeprefix("hf-hub:"))
    if spec.kind == "open_clip":
        from open_clip import get_pretrained_cfg

        found = get_pretrained_cfg(spec.name, spec.tag) or {}
        if repository := found.get("hf_hub", "").rpartition("/")[0]:
            return hub.format(repository)
        return f"download {found.get('url') or 'its weights'}, and write {spec.kind}:{spec.name}@FILE"
    if spec.kind == "timm":
        from timm import get_pretrained_cfg as timm_cfg

        config = timm_cfg(spec.name)
        return hub.format(config.hf_hub_id if config and config.hf_hub_id else f"timm/{spec.name}")
    if spec.kind == "torchvision":
        from torchvision.models import get_model_weights, list_models

        if spec.name in list_models():
            tags = get_model_weights(spec.name)
            weights = tags[spec.tag] if spec.tag in tags.__members__ else tags.DEFAULT
            return f"download {weights.url} to {folder / _PLACES['TORCH_HOME'] / 'hub' / 'checkpoints'}"
    return "what makes it knows what it needs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clip-robustness prefetch", description=__doc__)
    parser.add_argument("--suite", default="mini", metavar="NAME_OR_TOML", help="whose models and data (default: mini)")
    parser.add_argument(
        "--model", action="append", default=[], metavar="SPEC", help="instead of the suite's; repeatable"
    )
    parser.add_argument("--to", type=argument, required=True, metavar="DIR", help="the folder that is filled")
    parser.add_argument("--heads", action="store_true", help="make zero-shot heads, too: hours on a CPU")
    return parser
