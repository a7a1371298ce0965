"""What a user waits for before the first image and after the last: collecting many cells, and the page of many."""

import sys
from dataclasses import replace
from itertools import product
from subprocess import run

from clip_robustness.conditions.benchmark import CORRUPTIONS
from clip_robustness.reports import html
from clip_robustness.results.result import in_order
from tests import ROOT
from tests.conftest import many_cells
from tests.reports.test_reports import PASSED, RESULTS


def test_collecting_two_thousand_cells(benchmark, toml, tmp_path):
    """3 s on an idle machine of two slow cores."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"]
    benchmark.pedantic(
        run, ([*command, f"--suite={toml(many_cells(tmp_path))}"],), {"cwd": ROOT, "check": True}, rounds=3
    )


def test_the_page_of_five_thousand_cells(benchmark):
    kinds = product(range(50), (*CORRUPTIONS, "more"), range(1, 6))
    cells = [
        replace(PASSED, model=f"model {i}", condition="imagenet-c", params={"corruption": c, "severity": s})
        for i, c, s in kinds
    ]
    benchmark.pedantic(html.render, (replace(RESULTS, cells=in_order(cells)),), rounds=1)
