"""`clip-robustness ls`: what suites and options can name, ours, installed packages' and a suite's own, a line each."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from clip_robustness import registry
from clip_robustness.conditions.benchmark import ATTACKS, CORRUPTIONS, STYLIZED
from clip_robustness.conditions.catalogue import NAMES, kind_of, known_shifts
from clip_robustness.conditions.condition import (
    CLEAN,
    DATA_SETS,
    FROST,
    Condition,
    any_corruption,
    attack,
    corruption,
    corruption_of_set,
    corruption_sets,
    mean_corruption,
    natural,
    perturbation,
    stylized,
    wording,
)
from clip_robustness.conditions.kinds import of_kind
from clip_robustness.errors import one_line
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.models.spec import PRESETS
from clip_robustness.suites.read import PROFILES, SHIPPED, load
from clip_robustness.suites.rules import limit_names
from clip_robustness.suites.suite import Suite

_LEVELS = {"severity": "severities 1 to 5", "difficulty": "difficulties 1 to 3"}


@dataclass(frozen=True)
class Entry:
    """A name; `family`, `needs` and `source`, the paper that defines it, are '' where it has none. `origin` says whose
    it is."""

    group: str
    name: str
    family: str = ""
    about: str = ""
    needs: str = ""
    source: str = ""
    origin: str = "clip_robustness"

    def __str__(self) -> str:
        needs = f"needs {self.needs}" if self.needs else ""
        whose = f"of {self.origin}" if self.origin != "clip_robustness" else ""
        return f"{self.name:28} {self.family:12} " + "; ".join(filter(None, [self.about, self.source, needs, whose]))


def main(name: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"clip-robustness {name}", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)} (default: all)")
    parser.add_argument("--suite", help="a TOML file or a shipped suite, whose own names are listed, too")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a line each")
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"there is no group '{min(unknown)}'; known: {', '.join(GROUPS)}")
    entries = list(listed(options.groups or GROUPS, load(options.suite) if options.suite else None))
    if options.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return 0
    for group in dict.fromkeys(entry.group for entry in entries):
        print(f"{group}:")
        for entry in entries:
            if entry.group == group:
                print(one_line(f"  {entry}"))
    return 0


def listed(groups: Iterable[str], suite: Suite | None = None) -> Iterator[Entry]:
    """Raises `InputError` where a package offers a name that is taken."""
    for group in groups:
        yield from GROUPS[group](suite)


def _conditions(suite: Suite | None) -> Iterator[Entry]:
    own = suite.settings.conditions.natural if suite else ()
    found = [CLEAN, *map(natural, dict.fromkeys((*known_shifts(), *own)))]
    found += [corruption(name, 1) for name in CORRUPTIONS]
    found += [any_corruption(name, 1) for name in registry.names("corruption") if name not in CORRUPTIONS]
    found += [perturbation(name) for name in PERTURBATIONS]
    found += [corruption(CORRUPTIONS[0], 1, on_disk=True), perturbation(PERTURBATIONS[0], on_disk=True)]
    found += [mean_corruption(), mean_corruption(on_disk=True)]
    found += [corruption_of_set(name, kind_of("synthetic", name).over[0], 1) for name in corruption_sets()]
    found += [stylized(name) for name in STYLIZED]
    found += [wording(name) for name in NAMES["text"]]
    found += [next(of_kind(name)) for name in registry.names("condition")]
    for condition in found:
        levels = next((text for key, text in _LEVELS.items() if key in dict(condition.params)), "")
        name, about = (condition.id.removesuffix("-1"), levels) if levels else (condition.id, condition.kind.about)
        if condition.kind.registered:
            params = "; ".join(f"{key} {', '.join(map(str, of))}" for key, of in condition.kind.levels)
            name, about = condition.name, "; ".join(filter(None, [condition.kind.about, params]))
        if condition.part and levels:
            said = f"the published files of {condition.data}", levels, condition.kind.about
            name, about = condition.name, "; ".join(filter(None, said))
        yield _entry("conditions", name, condition, about, suite)


def _attacks(suite: Suite | None) -> Iterator[Entry]:
    ours = [found.name for found in registry.ours("attack")]
    theirs = [name for name in registry.names("attack") if name not in ours]
    for name in dict.fromkeys((*ATTACKS, *known_shifts("adversarial"), *ours, *theirs)):
        text = "TEXT" if name.endswith(":") else ""
        condition = attack(name + text, "8/255")
        about = condition.kind.about or ("one of the eleven" if condition.kind.in_benchmark else "beyond the eleven")
        yield _entry("attacks", name + text, condition, about, suite)


def _entry(group: str, name: str, condition: Condition, about: str, suite: Suite | None) -> Entry:
    needs = [f"data {suite.data_of(condition) if suite else condition.data}"]
    needs += ["a surrogate"] if condition.kind.crafted_on == "surrogate" else []
    needs += ["a file"] if condition.kind.takes_file else []
    needs += ["a zero-shot model"] if condition.kind.zero_shot_only else []
    found, source = condition.registered, condition.kind.source
    if found:
        source = found.options.get("source") or source
    origin = found.origin if found and found.version else Entry.origin
    return Entry(group, name, condition.family, about, ", ".join(needs), source, origin)


def _data(suite: Suite | None) -> Iterator[Entry]:
    for name in DATA_SETS:
        about = "pictures that frost blends images with" if name == FROST else ""
        place = suite.settings.data.get(name) if suite else None
        yield Entry("data", name, about=f"at {place}" if place else about)
    for name, place in suite.settings.data.items() if suite else ():
        if name not in DATA_SETS:
            yield Entry("data", name, about=f"at {place}", origin=suite.file.name if suite else "")

    yield from _prefixes("data", "dataset")


def _models(suite: Suite | None) -> Iterator[Entry]:
    yield from _prefixes("models", "model")
    for name, preset in tomllib.loads(PRESETS.read_text(encoding="utf-8")).items():
        yield Entry("models", f"preset:{name}", about=", ".join(preset["models"]))
    for text in (*suite.settings.candidate, *suite.settings.supervised) if suite else ():
        yield Entry("models", text, origin=suite.file.name if suite else "")


def _prefixes(group: str, registered: registry.Group) -> Iterator[Entry]:
    """Of specs and of places, with what follows them."""
    for name in sorted(registry.names(registered), key=lambda name: bool(registry.find(registered, name).version)):
        found = registry.find(registered, name)
        origin = found.origin if found.version else Entry.origin
        form, about = found.options.get("form", "NAME"), found.options.get("about", "")
        yield Entry(group, f"{name}:{form}", about=about, origin=origin)


def _limits(suite: Suite | None) -> Iterator[Entry]:
    for name in limit_names():
        found = registry.find("limit", name)
        origin = found.origin if found.version else Entry.origin
        yield Entry("limits", name, about=found.options.get("about", ""), origin=origin)


def _suites(suite: Suite | None) -> Iterator[Entry]:
    yield from (Entry("suites", name, about="a shipped suite, for --suite") for name in SHIPPED)
    yield from (Entry("suites", name, about="a shipped profile, for --profile") for name in PROFILES)


GROUPS: dict[str, Callable[[Suite | None], Iterator[Entry]]] = {
    "conditions": _conditions,
    "attacks": _attacks,
    "data": _data,
    "models": _models,
    "limits": _limits,
    "suites": _suites,
}
