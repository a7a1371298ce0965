"""From the id of a condition to the condition."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from clip_robustness import registry
from clip_robustness.conditions.benchmark import STYLIZED
from clip_robustness.conditions.catalogue import NAMES, WORST_OF, kind_of, known_shifts
from clip_robustness.conditions.condition import (
    OVERLAP,
    PAIRS,
    Condition,
    any_corruption,
    attack,
    corruption,
    corruption_of_set,
    corruption_sets,
    natural,
    overlap,
    perturbation,
    stylized,
    wording,
)
from clip_robustness.conditions.kinds import of_kind
from clip_robustness.conditions.seeds import over_seeds, with_seed
from clip_robustness.conditions.worst import worst_of


def condition_of(text: str) -> Condition:
    """The condition of an id: `clean`, `bim-8/255`, `imagenet-c-fog-3`, or of a natural shift, ours or the user's own.

    Raises `InputError` for what looks like an attack, a corruption or a sequence and is none.
    """
    if text in NAMES["clean"]:
        return Condition("clean", text)
    if kind_of("synthetic", text).averages:
        return Condition("synthetic", text)
    if text.startswith(f"{WORST_OF}-"):
        return worst_of(_members(text.removeprefix(f"{WORST_OF}-")))
    for name in sorted(NAMES["text"], key=len, reverse=True):  # 'typos-search' before 'typos'
        if f"{text}-".startswith(f"{name}-"):
            return wording(name, text.removeprefix(name).removeprefix("-"))
    if seeds := _SEEDS.fullmatch(text):
        of_seeds = over_seeds if seeds["many"] else with_seed
        return of_seeds(condition_of(seeds["of"]), int(seeds["many"] or seeds["one"]))
    if text.startswith(OVERLAP):
        return overlap(condition_of(text.removeprefix(OVERLAP)))
    for name in registry.names("condition"):
        if found_whole := [condition for condition in of_kind(name) if condition.id == text]:
            return found_whole[0]
    of_sets: dict[str, Callable[[str, int], Condition]] = {n: partial(corruption_of_set, n) for n in corruption_sets()}
    for kind, make in (of_sets | _WITH_LEVELS).items():
        if text.startswith(f"{kind}-"):
            name, _, level = text.removeprefix(f"{kind}-").rpartition("-")
            return make(name, int(level) if level.isdecimal() else 0)
    for name in (n for n in registry.names("attack") if ":" not in n and kind_of("adversarial", n).takes_file):
        if text.startswith(f"{name}-"):
            file, _, eps = text.removeprefix(f"{name}-").partition("-")
            return attack(name, eps, file=file)
    if (found := _ATTACK.fullmatch(text)) and registry.knows("attack", found["name"]):
        pairs, normalized, rounded = int(found["pairs"] or PAIRS), bool(found["normalized"]), bool(found["rounded"])
        return attack(found["name"], found["eps"], pairs=pairs, normalized=normalized, rounded=rounded)
    if text in known_shifts("adversarial") or registry.knows("attack", text):
        return attack(text)
    return stylized(text) if text in STYLIZED else natural(text)


def _members(text: str) -> list[Condition]:
    """Of `bim+square-8/255`, where the parameters are those of all, or of ids between '+'."""
    *firsts, last = text.split("+")
    end = condition_of(last)
    common = last.removeprefix(end.name) if end.kind.attack and all(registry.knows("attack", f) for f in firsts) else ""
    return [*(condition_of(first + common) for first in firsts), end]


_SEEDS = re.compile(r"(?P<of>.+)-((?P<many>\d+)seeds|seed(?P<one>\d+))")
_ATTACK = re.compile(
    r"(?P<name>.+?)-(?P<eps>[^-]+?)(-(?P<pairs>\d+)pairs)?(?P<normalized>-normalized)?(?P<rounded>-8bit)?"
)
_WITH_LEVELS: dict[str, Callable[[str, int], Condition]] = {  # the longer names first
    "imagenet-c-disk": partial(corruption, on_disk=True),
    "imagenet-p-disk": partial(perturbation, on_disk=True),
    "imagenet-c": corruption,
    "imagenet-p": perturbation,
    "corruption": any_corruption,
}
