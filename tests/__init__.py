"""Tests of the suite itself. Folders mirror the package; runs/ is what starts processes, benchmarks/ is speed."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
