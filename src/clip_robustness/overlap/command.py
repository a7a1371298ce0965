"""`clip-robustness overlap`: find the near-duplicates between pre-training images and the test images of a suite."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clip_robustness import suites
from clip_robustness.conditions.condition import CLEAN
from clip_robustness.datasets import load, places
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import subsample
from clip_robustness.doing import doing
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import argument
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.models.device import set_up_device
from clip_robustness.models.features import load_encoder
from clip_robustness.models.spec import parse
from clip_robustness.overlap.analysis import GALLERY, NEIGHBOURS, analyse
from clip_robustness.overlap.found import RESULT, Found
from clip_robustness.overlap.sources import find_all


def main(name: str, arguments: Sequence[str]) -> int:
    """Shard by shard; each is kept as soon as it is embedded, so that a later call goes on where an earlier one was."""
    options = _parser().parse_args(arguments)
    found = _run(options)
    for line in lines(found):
        print(line)
    print(options.out / RESULT)
    print(options.out / GALLERY)
    return 0


def lines(found: Found) -> list[str]:
    """A line a data set, and one for everything that was left out."""
    import numpy as np

    said = [f"{found.pretraining} pre-training images, search: {found.search}"]
    for name, one in found.data.items():
        rate, limits = accuracy(np.arange(one.n) < len(one.pairs)), one.calibration
        said.append(
            f"{name}: {len(one.pairs)} of {one.n} images overlap, {100 * rate.value:.1f}% [{100 * rate.low:.1f}, "
            f"{100 * rate.high:.1f}]; with these limits {limits.found} of {limits.duplicates} synthetic copies are "
            f"found and {limits.mistaken} of {limits.lookalikes} look-alikes are mistaken for one"
        )
    return [*said, *(f"warning: {sentence}" for sentence in found.left_out)]


def _run(options: argparse.Namespace) -> Found:
    suite = suites.load(options.suite)
    classes, device = class_list(suite.classes), set_up_device(options.device)
    looked_at = (CLEAN, *(c for c in suite.conditions if c.kind.is_shift))
    names = options.data or [n for n in dict.fromkeys(map(suite.data_of, looked_at)) if suite.source(n) is not None]
    sets = []
    for name in names:
        place = suite.source(name)
        if place is None:
            raise InputError(f"--data {name}: {suite.file} has no such line; {nearest(name, suite.settings.data)}")
        with doing(f"listing the images of {name}"):
            images = load.load(name, places.folder(place), classes)
        for warning in images.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        sets.append(subsample(images, options.samples, 0))
    source = find_all(options.pretraining)
    encoder = load_encoder(parse(options.encoder), classes, device)
    return analyse(
        sets, source, encoder, options.out, search=options.search, neighbours=options.neighbours, shown=options.shown
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clip-robustness overlap", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--suite", default="mini", metavar="NAME_OR_TOML", help="whose data sets are looked at")
    parser.add_argument("--data", action="append", metavar="NAME", help="only this data set of it; repeatable")
    parser.add_argument(
        "--pretraining",
        required=True,
        action="append",
        metavar="PATH",
        help="a folder of images, .tar shards, .parquet files, or embeddings (img_emb, metadata); repeatable",
    )
    parser.add_argument(
        "--encoder", required=True, metavar="SPEC", help="a model, not the candidate; or whose embeddings"
    )
    parser.add_argument(
        "--out", type=argument, default=Path("reports/overlap"), metavar="DIR", help="where all is kept"
    )
    parser.add_argument("--search", default="auto", choices=("auto", "exact", "ivfpq"), help="how neighbours are found")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, metavar="N", help="compared with a test image")
    parser.add_argument("--samples", type=int, metavar="N", help="images per data set (default: all)")
    parser.add_argument("--shown", type=int, default=60, metavar="N", help="pairs of a data set in the gallery")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser
