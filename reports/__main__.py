"""`python -m reports history`: the recorded runs, and how the figures of a model family went.
`python -m reports merge RESULTS_JSON ... -o DIR`: the reports of a run out of those of its shards.
`python -m reports annotations RESULTS_JSON`: what GitHub shows beside a job, a line for each failing cell."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from metrics.results import FAMILIES, Cell, read
from models.errors import InputError
from reports import history, table


def trend(runs: list[history.Run], family: str) -> list[str]:
    """A line a run and candidate: mean accuracies over the cells that all of them have."""
    rows = []
    for run in runs:
        cells = [c for c in run.results.cells if c.role == "candidate" and c.accuracy is not None]
        for model in dict.fromkeys(cell.model for cell in cells if cell.model.startswith(family)):
            rows.append((run, model, {(c.family, c.label): c for c in cells if c.model == model}))
    common = set.intersection(*(set(own) for *_, own in rows)) if rows else set()
    lines = [f"mean accuracy in percent over the {len(common)} conditions that all runs below have"]
    for run, model, own in rows:
        means = [f"{name} {_mean([own[k] for k in common if k[0] == name])}" for name in FAMILIES]
        lines.append(f"{run.recorded}  {run.name}  {run.results.suite}  {model}  {'  '.join(means)}")
    return lines


def _mean(cells: list[Cell]) -> str:
    return f"{100 * np.mean([cell.accuracy for cell in cells]):.1f}" if cells else "-"


def as_annotations(cells: list[Cell]) -> list[str]:
    """A workflow command each; names and reasons are not ours, so what has a meaning there is escaped."""
    failing = [c for c in cells if c.role == "candidate" and not c.holds and c.verdict != "known weakness"]
    shown = [c for c in cells if c.verdict == "improved"] + failing
    return [
        f"::error title={_escaped(f'{c.model} {c.label}: {c.verdict}', also=':,')}::{_escaped(c.reason)}" for c in shown
    ]


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + also else c for c in text)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    noted = commands.add_parser("annotations", help="print failing cells as GitHub's annotations")
    noted.add_argument("results", type=Path, help="a results.json")
    command = commands.add_parser("history", help="list recorded runs and their figures")
    command.add_argument("--history", type=Path, default=Path("reports/history"), help="folder of the recorded runs")
    command.add_argument("--family", default="", help="only models whose spec begins so, such as open_clip:ViT-B-32")
    joined = commands.add_parser("merge", help="join the results of a run's shards")
    joined.add_argument("results", type=Path, nargs="+", help="the results.json of each shard")
    joined.add_argument("-o", "--out", type=Path, required=True, help="folder for the four reports")
    args = parser.parse_args()
    if args.command == "merge":
        from reports.merge import exit_code, merged
        from reports.plugin import write_all

        try:
            results = merged(args.results)
        except InputError as error:
            parser.error(str(error))
        write_all(results, args.out)
        print("\n".join(table.lines(results.cells)))
        return exit_code(results)
    if args.command == "annotations":
        try:
            print("\n".join(as_annotations(read(args.results).cells)))
        except (OSError, ValueError) as error:
            parser.error(str(error))
        return 0
    runs, damaged = [], 0
    for file in history.files(args.history):
        try:
            runs.append(history.read(file))
        except InputError as error:
            print(error, file=sys.stderr)
            damaged = 1
    if not runs:
        print(f"no recorded run in {args.history}; pytest --record NAME records one", file=sys.stderr)
        return 1
    print("\n".join(trend(runs, args.family)))
    return damaged


if __name__ == "__main__":
    sys.exit(main())
