"""The drawn world's own overlap: of its test sets and its pre-training set, analysed on first use and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clip_robustness.cache import cache_folder, kept
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.models import embedded
from clip_robustness.models.code import code_of
from clip_robustness.models.code_digest import digest as code_digest
from clip_robustness.models.spec import parse
from clip_robustness.overlap.found import RESULT, Found, read
from clip_robustness.overlap.sources import Source, find

if TYPE_CHECKING:
    import torch

PRETRAINING = "mini:pretraining"
ENCODER = "mini:filter"
"""Neither the candidate nor its baseline."""
_NEIGHBOURS = 4
"""Of a few thousand pictures, where look-alikes are fewer than on the web."""


_CODE = ("clip_robustness.models.features.load_encoder", "clip_robustness.overlap.analysis.analyse")


def found(sets: Sequence[Dataset], device: Callable[[], torch.device]) -> Found:
    """One process analyses, the others wait for it."""
    digest = hashlib.sha256(code_digest(_CODE, (), lambda: code_of(_CODE)).encode())
    digest.update(embedded.FILTER_WEIGHTS.read_bytes())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    for images in sets:
        digest.update(repr([(sample.id, sample.stamp) for sample in images.samples]).encode())
    source = find(PRETRAINING)
    digest.update(repr([shard.stamp for shard in source.shards]).encode())
    folder = cache_folder() / f"overlap-mini-{digest.hexdigest()[:10]}"
    kept(folder, lambda partial: _analyse(sets, source, device(), partial))
    return read(folder / RESULT)


def _analyse(sets: Sequence[Dataset], source: Source, device: torch.device, out: Path) -> None:
    from clip_robustness.models.features import load_encoder
    from clip_robustness.overlap.analysis import analyse

    encoder = load_encoder(parse(ENCODER), class_list("mini"), device)
    analyse(sets, source, encoder, out, neighbours=_NEIGHBOURS)
