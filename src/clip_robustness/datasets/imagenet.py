"""ImageNet's 1000 classes, in their order, as the files of timm and open_clip have them. The libraries themselves, and
torch with them, would take seconds to import."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path


@cache
def wnids() -> tuple[str, ...]:
    return tuple(_text("timm", "data/_info/imagenet_synsets.txt").split())


@cache
def words() -> Mapping[str, str]:
    """wnid -> the words of its synset, 'tench, Tinca tinca'."""
    lines = _text("timm", "data/_info/imagenet_synset_to_lemma.txt").splitlines()
    lemmas = dict(line.split("\t") for line in lines if line)
    return {wnid: lemmas[wnid] for wnid in wnids()}


@cache
def prompted() -> tuple[str, ...]:
    """What open_clip's prompts call them."""
    tree = ast.parse(_text("open_clip", "zero_shot_metadata.py"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    values = {getattr(node.targets[0], "id", ""): node.value for node in assigned}
    return tuple(ast.literal_eval(values["IMAGENET_CLASSNAMES"]))


def _text(library: str, file: str) -> str:
    found = PathFinder.find_spec(library)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named '{library}'", name=library)
    return (Path(found.origin).parent / file).read_text(encoding="utf-8")
