"""Which images of a data set belong together, where its user says so: a line under `[clusters]`.

`regex:PATTERN` searches the id of an image, and its first group is the cluster; `file:TABLE` has a line for each image,
its id, a tab and its cluster; `column:NAME` is a column of the table that the data set is read from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_robustness.errors import InputError, nearest, reason

if TYPE_CHECKING:  # suites, which check rules, are light to import
    from clip_robustness.datasets.dataset import Dataset

KINDS = ("regex", "file", "column")


def fault_of(rule: str) -> str:
    """Why a rule says nothing, whatever the images are; '' where it may."""
    kind, mark, what = rule.partition(":")
    if kind not in KINDS or not mark or not what:
        return f"'{rule}' is none of regex:PATTERN, file:TABLE and column:NAME"
    return fault_of_pattern(what, "(v[0-9]+)_, which is the cluster") if kind == "regex" else ""


def fault_of_pattern(pattern: str, example: str) -> str:
    """Why no group of a pattern can name what it matches; '' where one can."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return f"'{pattern}' is no regular expression: {error}"
    return "" if groups else f"'{pattern}' needs a group, as in {example}"


def clustered(images: Dataset, rule: str) -> Dataset:
    """With the clusters that a rule says; those of a column are there already. Raises `InputError` where it says none
    of an image."""
    kind, _, what = rule.partition(":")
    if kind == "column":
        return images
    find = _matching(what) if kind == "regex" else _listed(f"data set '{images.name}'", Path(what))
    found = {sample.id: find(sample.id) for sample in images.samples}
    if missing := [id for id, cluster in found.items() if not cluster]:
        raise InputError(
            f"data set '{images.name}': {rule} under [clusters] says nothing of {len(missing)} of {len(found)} images "
            f"(first: {missing[0]})"
        )
    samples = tuple(replace(sample, clusters=(found[sample.id],)) for sample in images.samples)
    return replace(images, samples=samples)


def existing(place: str, name: str, columns: list[str]) -> str:
    """A column that is there. Raises `InputError`."""
    if name in columns:
        return name
    raise InputError(f"{place}: there is no column '{name}', as [clusters] names it; {nearest(name, columns)}")


def _matching(pattern: str) -> Callable[[str], str]:
    def find(id: str) -> str:
        found = re.search(pattern, id)
        return found[1] or "" if found else ""

    return find


def _listed(place: str, file: Path) -> Callable[[str], str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: {file} under [clusters] can't be read: {reason(error)}") from None
    cluster_of: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        id, tab, cluster = line.partition("\t")
        if line.strip() and not (tab and cluster.strip()):
            raise InputError(f"{place}: {file}, line {number}: an id, a tab and a cluster are expected, not {line!r}")
        if cluster_of.setdefault(id, cluster.strip()) != cluster.strip():
            raise InputError(f"{place}: {file}: {id} is in two clusters, '{cluster_of[id]}' and '{cluster.strip()}'")
    return lambda id: cluster_of.get(id, "")
