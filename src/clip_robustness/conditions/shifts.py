"""The conditions that a registered test set brings. Data only, light to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clip_robustness.conditions.kind import Kind
from clip_robustness.registry import Registered

_TWO_WAY: Mapping[str, Any] = {"runner": "clip_robustness.conditions.two_way.run", "labels_count": True}


def kinds_of(found: Registered) -> Iterator[Kind]:
    """Of the options of `@shift`:

    `conditions`: name of a condition -> the part of the set that it is; default: the whole set, by its name. Of
    the benchmark's none: they are in `conditions.catalogue`, in its order;
    `compared_with`: condition -> the one that is its clean reference; default: the clean images; `pair_by`: a regular
    expression whose first group, of an image's id, names its partner there;
    `family`, default natural, or condition -> family;
    `source`, the paper; `licence`, whose terms are the user's to keep; `about`.

    Counts are compared with what is on the disk, where the classes are ImageNet's: `images`, or part -> images, and
    `shown`, how many of the classes there are images of. `numbers = "imagenet"`: numbers are places in ImageNet's list.

    `cropped` and `border` are what `datasets.dataset.Sample` says, of all images. `tables`: whether it reads places
    with a prefix; default: the reader of the prefix does, where it has no parts. `mappings`: files of folder -> name
    and of name -> ImageNet's, joined by '; ', which tell its classes where they are there. `in_full`: the part that
    has classes of its own, and no published count.

    `clustered`: the reader knows which images belong together (`Sample.clusters`);
    `own_names`: the reader gives a `Dataset` with `classes` of its own, which zero-shot models alone can be asked for;
    `two_way`: between an image's label and its rival, as `conditions.two_way`; `rejects`: its images are of no class,
    as `metrics.ood` has it. `corruptions`: the set has ImageNet-C's layout, with these, and a mean of its own.
    """
    given = found.options
    if over := tuple(given.get("corruptions", ())):
        yield from _corruptions(found, over)
        return
    conditions = given.get("conditions", {found.name: ""})
    family = given.get("family", "natural")
    about = "; ".join(filter(None, [given.get("about", ""), f"licence: {given.get('licence') or 'not stated'}"]))
    for name, part in conditions.items():
        yield Kind(
            name,
            family if isinstance(family, str) else family.get(name, "natural"),
            given.get("source", ""),
            about,
            compared_with=given.get("compared_with", {}).get(name, ""),
            pair_by=given.get("pair_by", ""),
            data=found.name,
            part=lambda _, part=part: part,  # type: ignore[misc]
            all_names=given.get("own_names", False),
            rejects=given.get("rejects", False),
            **_TWO_WAY if given.get("two_way") else {},
        )


def _corruptions(found: Registered, over: tuple[str, ...]) -> Iterator[Kind]:
    name, source, licence = found.name, found.options.get("source", ""), found.options.get("licence", "not stated")
    yield Kind(
        name,
        "synthetic",
        source,
        f"licence: {licence}",
        data=name,
        over=over,
        part=lambda params: f"{params['corruption']}/{params['severity']}",
    )
    yield Kind(f"{name}-mean", "synthetic", source, averages=name, over=over)
