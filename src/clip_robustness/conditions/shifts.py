"""The conditions that a registered test set brings. Data only, light to import."""

from __future__ import annotations

from collections.abc import Iterator

from clip_robustness.conditions.kind import Kind
from clip_robustness.registry import Registered


def kinds_of(found: Registered) -> Iterator[Kind]:
    """Of the options of `@shift`:

    `conditions`: name of a condition -> the part of the set that it is; default: the whole set, by its name;
    `compared_with`: condition -> the one that is its clean reference; default: the clean images; `pair_by`: a regular
    expression whose first group, of an image's id, names its partner there;
    `family`, default natural; `source`, the paper; `licence`, whose terms are the user's to keep; `about`.

    Counts are compared with what is on the disk, where the classes are ImageNet's: `images`, or part -> images, and
    `shown`, how many of the classes there are images of. `numbers = "imagenet"`: numbers are places in ImageNet's list.
    """
    given = found.options
    conditions = given.get("conditions") or {found.name: ""}
    about = "; ".join(filter(None, [given.get("about", ""), f"licence: {given.get('licence') or 'not stated'}"]))
    for name, part in conditions.items():
        yield Kind(
            name,
            given.get("family", "natural"),
            given.get("source", ""),
            about,
            compared_with=given.get("compared_with", {}).get(name, ""),
            pair_by=given.get("pair_by", ""),
            data=found.name,
            part=lambda _, part=part: part,  # type: ignore[misc]
        )
