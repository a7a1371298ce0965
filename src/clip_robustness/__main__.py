"""The command `clip-robustness`: `run` is pytest with the suite's plugin, the others work on what runs leave behind."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from clip_robustness.doing import current, doing, heartbeat
from clip_robustness.errors import InputError, sentence

COMMANDS = {
    "run": ("fixtures.run", "run the tests of a suite; the options are pytest's, and those of its group robustness"),
    "ls": ("suites.listing", "list what can be named: conditions, attacks, data, models, limits, suites"),
    "validate": ("suites.validate", "find what is wrong with a suite without running it, all at once"),
    "merge": ("reports.command", "join the results of a run's shards"),
    "render": ("reports.command", "write the views of results.json anew, of several runs side by side"),
    "history": ("reports.command", "list recorded runs and their figures"),
    "comment": ("reports.command", "print Markdown for a pull request: the verdict, and what changed since a base"),
    "site": ("reports.command", "write a static leaderboard of runs"),
    "annotations": ("reports.command", "print failing cells as GitHub's annotations"),
    "picture": ("reports.command", "the top of a report as a picture, by an installed Chromium"),
    "calibrate": ("calibration.command", "check a set-up by the published figures of known checkpoints"),
    "prefetch": ("evaluation.prefetch", "bring what a suite needs over the network into one folder"),
    "overlap": ("overlap.command", "find near-duplicates between pre-training images and test images"),
    "prompts": ("prompts.command", "learn prompts for a CLIP on labelled images"),
    "store": ("evaluation.store.command", "list, export, merge or thin out stored outcomes"),
}
"""Name -> the module whose `main(name, arguments)` does it, imported when it is asked for, and what it does."""
_WRONG, _ARGPARSE = 4, 2
"""Exit codes of wrong usage: pytest's, and that of the standard library, which `run` has for an interrupted run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: pytest's for `run`, whose 4 is wrong usage and bad input of all; else 0, or one of their
    own."""
    name, *rest = sys.argv[1:] if arguments is None else arguments or [""]
    if name not in COMMANDS:
        print(_usage(), file=sys.stdout if name in ("-h", "--help") else sys.stderr)
        return 0 if name in ("-h", "--help") else _WRONG
    if isinstance(sys.stdout, io.TextIOWrapper):  # names in files of others may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.path.insert(0, str(Path.cwd()))  # for the modules of `python:` specs, as `python -m` does
    log = name != "run" and not sys.stderr.isatty()  # pytest's plugin says by itself what a run does
    beat = heartbeat(current, partial(print, file=sys.stderr, flush=True)) if log else nullcontext()
    try:
        with beat, doing(f"clip-robustness {name}"):
            code: int = importlib.import_module(f"clip_robustness.{COMMANDS[name][0]}").main(name, rest)
    except (InputError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return _WRONG
    except SystemExit as end:
        if end.code != _ARGPARSE:
            raise
        return _WRONG
    return code


def _usage() -> str:
    lines = [f"  {name:12} {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(["usage: clip-robustness COMMAND ..., each with --help", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
