"""The drawn world's own overlap: of its test sets and its pre-training set, analysed on first use and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from clip_robustness import models
from clip_robustness.cache import cache_folder, kept
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.models.features import load_encoder
from clip_robustness.overlap.analysis import RESULT, analyse
from clip_robustness.overlap.found import Found, read
from clip_robustness.overlap.sources import find

PRETRAINING = "mini:pretraining"
ENCODER = "mini:filter"
"""Neither the candidate nor its baseline."""
_NEIGHBOURS = 4
"""Of a few thousand pictures, where look-alikes are fewer than on the web."""


def found(sets: Sequence[Dataset], device: torch.device) -> Found:
    """One process analyses, the others wait for it."""
    encoder = load_encoder(models.parse(ENCODER), class_list("mini"), device)
    digest = hashlib.sha256(encoder.fingerprint.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    for images in sets:
        digest.update(repr([(sample.id, sample.stamp) for sample in images.samples]).encode())
    source = find(PRETRAINING)
    digest.update(repr([shard.stamp for shard in source.shards]).encode())
    folder = cache_folder() / f"overlap-mini-{digest.hexdigest()[:10]}"
    kept(folder, lambda partial: analyse(sets, source, encoder, partial, neighbours=_NEIGHBOURS))
    return read(folder / RESULT)
