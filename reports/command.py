"""`clip-robustness history [DIR_OR_FILE ...]`: recorded runs, how the figures of a model family went, where it fell.
`clip-robustness merge RESULTS_JSON ... -o DIR`: the reports of a run out of those of its shards.
`clip-robustness annotations RESULTS_JSON`: what GitHub shows beside a job, a line for each failing cell.
`clip-robustness comment RESULTS_JSON [--base RUN]`: Markdown for a pull request: the verdict, and what changed.
`clip-robustness render RESULTS_JSON...`: report.html, junit.xml, summary.md and cells.csv anew, of one run, or of
several side by side.
`clip-robustness site RUN... -o FOLDER`: a static leaderboard of runs, with their reports and downloads.
`clip-robustness picture REPORT_HTML PNG`: the top of a report as a picture, by the Chromium of this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clip_robustness import suites
from clip_robustness.errors import InputError, one_line, sentence
from clip_robustness.files import argument
from clip_robustness.reports import comment, site, terminal
from clip_robustness.reports import history as over_time
from clip_robustness.reports.html import together
from clip_robustness.reports.picture import picture
from clip_robustness.reports.write import views, write, write_all
from clip_robustness.results import gallery, guards, history
from clip_robustness.results.headline import headline
from clip_robustness.results.results import Results, read
from clip_robustness.results.trajectory import series_of
from clip_robustness.verdicts.merge import exit_code, merged


def github_lines(results: Results) -> list[str]:
    """A workflow command for each failing cell and for a run that did not come to its end; names and reasons are not
    ours, so what has a meaning there is escaped."""
    failing = [c for c in results.cells if c.role == "candidate" and c.fails]
    said = [(f"{c.model} {c.label}: {c.verdict}", c.reason) for c in failing]
    if results.unfinished:
        said.insert(0, (f"suite {results.suite}", results.unfinished))
    return [f"::error title={_escaped(title, also=':,')}::{_escaped(reason)}" for title, reason in said]


def github_warnings(results: Results) -> list[str]:
    """What the run as a whole does not show."""
    head = headline(results)
    said = [*results.warnings, *([head.text] if head.state == "undecided" else [])]
    return [f"::warning title=robustness {_escaped(results.suite, also=':,')}::{_escaped(text)}" for text in said]


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + also else c for c in text)


def render(files: list[Path], out: Path | None) -> tuple[list[Path], list[str]]:
    """Write the views of one results.json or recorded run, or of several together; returns the files written, and a
    sentence for each view that could not be made.

    Raises `InputError` where several have no folder to go to, and for a file that is neither.
    """
    if out is None and len(files) > 1:
        raise InputError("several runs side by side need a folder of their own: give --out DIR")
    named = dict(zip(_names(files), (_read(file) for file in files), strict=True))
    runs = list(named.items())
    results = runs[0][1] if len(runs) == 1 else together(runs)
    contents, crashed = views(results, _pictures(files), runs if len(runs) > 1 else ())
    folder = out or files[0].parent
    write(folder, contents)
    return [folder / name for name in contents], crashed


def _pictures(files: list[Path]) -> dict[str, list[gallery.Example]]:
    found = {key: examples for file in files for key, examples in gallery.beside(file).items()}
    return gallery.within(gallery.BUDGET, found)


def _read(file: Path) -> Results:
    return history.read(file).results if file.name.endswith(history.SUFFIX) else read(file)


def _names(files: list[Path]) -> list[str]:
    """What tells the files apart: the folders' names, or with more of the path where these are the same."""
    paths = [file.resolve() for file in files]
    parts = [path.parts if path.name.endswith(history.SUFFIX) else path.parent.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"{files[0]} is given twice")


def main(name: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="clip-robustness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    noted = commands.add_parser(
        "annotations", help="print failing cells, and warnings of the run, as GitHub's annotations"
    )
    noted.add_argument("results", type=argument, help="a results.json")
    commented = commands.add_parser("comment", help="print Markdown for a pull request")
    commented.add_argument("results", type=argument, help="a results.json")
    commented.add_argument(
        "--base", type=argument, metavar="RUN", help="a results.json, or a recorded run, of the base branch"
    )
    command = commands.add_parser("history", help="list recorded runs and their figures")
    command.add_argument(
        "runs", type=argument, nargs="*", default=[Path("reports/history")],
        help="recorded runs, or folders of them (default: reports/history)",
    )  # fmt: skip
    command.add_argument("--html", type=argument, metavar="FILE", help="write a page with each condition over the runs")
    command.add_argument("--family", default="", help="only models whose name or spec begins so")
    command.add_argument("--latest", metavar="SUITE", help="print the file of the last run of a suite that held")
    joined = commands.add_parser("merge", help="join the results of a run's shards")
    joined.add_argument("results", type=argument, nargs="+", help="the results.json of each shard")
    joined.add_argument("--suite", help="the run's suite, whose plugins say what guards their attacks have")
    joined.add_argument("-o", "--out", type=argument, required=True, help="folder for the reports")
    rendered = commands.add_parser("render", help="write the views of results.json anew, of several side by side")
    rendered.add_argument("results", type=argument, nargs="+", help="results.json files, or recorded runs")
    rendered.add_argument(
        "-o", "--out", type=argument, help="folder to write to (default: the folder of the one results.json)"
    )
    published = commands.add_parser("site", help="write a static leaderboard of runs")
    published.add_argument(
        "runs", type=argument, nargs="+", help="results.json files, folders of one, or recorded runs"
    )
    published.add_argument("-o", "--out", type=argument, required=True, help="folder to write to")
    pictured = commands.add_parser("picture", help="the top of a report as a picture")
    pictured.add_argument("report", type=argument, help="a report.html")
    pictured.add_argument("png", type=argument, help="the picture to write")
    args, unknown = parser.parse_known_args([name, *arguments])
    if unknown:
        commands.choices[name].error(f"unrecognized arguments: {' '.join(unknown)}")
    crashed: list[str] = []
    if args.command == "merge":
        if args.suite:
            suites.load(args.suite)
        results = merged(args.results)
        crashed = write_all(results, args.out, _pictures(args.results))
        print("\n".join("".join(text for text, _ in line) for line in terminal.lines(results)))
        code = exit_code(results)
        for attack in guards.unknown_attacks(results.cells):
            print(one_line(f"guards of attack '{attack}' are left out, nobody registered it here; give --suite"))
    elif args.command == "render":
        written, crashed = render(args.results, args.out)
        print("\n".join(map(str, written)))
        code = 0
    elif args.command == "picture":
        print(picture(args.report, args.png))
        code = 0
    elif args.command == "site":
        files = [run / "results.json" if run.is_dir() else run for run in args.runs]
        _names(files)  # a run that is given twice
        print(site.write([(file, _read(file)) for file in files], args.out))
        code = 0
    elif args.command == "comment":
        base = _read(args.base) if args.base else None
        print(comment.render(read(args.results), base), end="")
        code = 0
    elif args.command == "annotations":
        results = read(args.results)
        print("\n".join([*github_lines(results), *github_warnings(results)]))
        code = 0
    else:
        code = _latest(args.runs[0], args.latest) if args.latest else _history(args.runs, args.family, args.html)
    for said in crashed:
        print(said, file=sys.stderr)
    return code or (3 if crashed else 0)


def _latest(folder: Path, suite: str) -> int:
    try:
        print(history.find(folder, "latest", Path(suite).stem).file)
    except history.NoRunError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 1
    return 0


def _history(places: Sequence[Path], family: str, page: Path | None) -> int:
    runs, damaged = [], 0
    for file in (file for place in places for file in (history.files(place) if place.is_dir() else [place])):
        try:
            runs.append(history.read(file))
        except InputError as error:
            print(sentence(error), file=sys.stderr)
            damaged = 1
    if not runs:
        print(f"no recorded run in {', '.join(map(str, places))}; `run --record NAME` records one", file=sys.stderr)
        return 1
    runs.sort(key=lambda run: run.recorded)
    found = series_of(runs, family)
    print("\n".join(map(one_line, over_time.lines(found))))
    if page:
        write(page.parent, {page.name: over_time.page(found, family)})
        print(page)
    return damaged
