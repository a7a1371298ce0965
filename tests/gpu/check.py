"""`make gpu-check`: does a device give what a CPU gives, and how near does the suite come to the bare model there?

    python -m tests.gpu.check [--quick] [--device cuda] [--out reports/gpu-check]

It needs no network and no data: models have random weights, images are drawn. --quick takes the embedded models and a
few images, for a CPU. It leaves check.json and check.md, and ends with 1 where a check fails; a rate below its goal is
told, and fails nothing, as others may use the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from clip_robustness.models.device import device_of, set_up_device
from tests.gpu import equal, rates
from tests.gpu.rows import Check, Plan, Rate

FULL = Plan(models=("ViT-B-32", "ViT-B-16", "ViT-L-14", "RN50x16"), images=512, batch=64, cells=None, seconds=1.0)
QUICK = Plan(models=(), images=16, batch=8, cells=6, seconds=0.02)
_LIMIT = 390.0
"""Seconds, after which no other part is begun: seven minutes with what is under way."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.check", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu-check"))
    options = parser.parse_args(arguments)
    device = device_of(options.device)
    if device.type == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick checks a CPU")
    device = set_up_device(str(device))
    began, plan = time.perf_counter(), QUICK if options.quick else FULL
    checks, found = list[Check](), list[Rate]()
    with tempfile.TemporaryDirectory() as folder:
        for part in (equal.checks, rates.rates):
            for row in _until(began + _LIMIT, part(plan, device, Path(folder))):
                print(row, flush=True)
                (checks if isinstance(row, Check) else found).append(row)
    about = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU",
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - began),
        "quick": options.quick,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    rows = {"about": about, "checks": [asdict(c) for c in checks], "rates": [asdict(r) for r in found]}
    (options.out / "check.json").write_text(json.dumps(rows, indent=1) + "\n")
    (options.out / "check.md").write_text("\n".join(_markdown(about, checks, found)) + "\n")
    return int(any(check.ok is False for check in checks))


def _until(end: float, rows: Iterator[Check | Rate]) -> Iterator[Check | Rate]:
    for row in rows:
        yield row
        if time.perf_counter() > end:
            yield Check("time", None, "seven minutes were over: the rest was left out")
            return


def _markdown(about: dict[str, object], checks: list[Check], found: list[Rate]) -> Iterator[str]:
    yield f"# GPU check: {about['device']}"
    yield ""
    yield ", ".join(f"{key} {value}" for key, value in about.items() if key != "device")
    yield ""
    yield "| check | | |"
    yield "|---|---|---|"
    for check in checks:
        yield f"| {check.name} | {check.mark} | {check.detail} |"
    yield ""
    yield "| model | precision | work | images/s | limit | share | goal |"
    yield "|---|---|---|---|---|---|---|"
    for rate in found:
        what = f"{rate.model} | {rate.precision} | {rate.work}"
        goal = f"{'' if rate.goal is None else f'{rate.goal:g}'}{' (below)' if rate.below else ''}"
        yield f"| {what} | {rate.ours:.4g} | {rate.limit:.4g} | {rate.share:.2f} | {goal} |"


if __name__ == "__main__":
    sys.exit(main())
