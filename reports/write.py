"""The files of a run: results.json first, which nothing that is made of it can lose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clip_robustness.errors import one_line
from clip_robustness.files import whole
from clip_robustness.reports import csv, junit, markdown
from clip_robustness.results import gallery
from clip_robustness.results.gallery import Gallery
from clip_robustness.results.results import Results

FILES = ("report.html", "summary.md", "results.json", "junit.xml", "cells.csv", gallery.NAME)


def write_all(results: Results, folder: Path, pictures: Gallery, runs: Sequence[tuple[str, Results]] = ()) -> list[str]:
    """The files of a run; each replaces its predecessor whole, results.json first. Returns a sentence for each view
    that could not be made."""
    write(folder, {"results.json": results.to_json(), gallery.NAME: gallery.to_json(pictures)})
    contents, crashed = views(results, pictures, runs)
    write(folder, contents)
    return crashed


def views(
    results: Results, pictures: Gallery, runs: Sequence[tuple[str, Results]] = ()
) -> tuple[dict[str, str], list[str]]:
    """What can be made of results.json and gallery.json, by file name, and a sentence for each that could not be made.
    In its place is a view of nothing that says so."""
    from clip_robustness.reports import html

    makers: dict[str, Callable[[Results], str]] = {
        "junit.xml": junit.render,
        "summary.md": markdown.render,
        "cells.csv": lambda shown: csv.render(shown.cells),
        "report.html": lambda shown: html.render(shown, pictures, runs if shown is results else ()),
    }
    contents, crashed = {}, []
    for name, make in makers.items():
        try:
            contents[name] = make(results)
        except Exception as error:
            crashed.append(crash(name, error))
            contents[name] = make(Results(results.suite, {}, [], [], partial=crashed[-1]))
    return contents, crashed


def crash(what: str, error: Exception) -> str:
    return one_line(f"{what} could not be made: {type(error).__name__}: {error}; results.json has all figures")


def write(folder: Path, contents: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        with whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
