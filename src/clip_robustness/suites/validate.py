"""`clip-robustness validate`: everything that can be found wrong with a suite without running it, all at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clip_robustness import registry
from clip_robustness.conditions.condition import DATA_SETS, Condition
from clip_robustness.datasets import clusters, groups
from clip_robustness.datasets.classes import CLASS_LISTS, ClassList, class_list, renamed
from clip_robustness.datasets.dataset import Dataset, subsample
from clip_robustness.datasets.load import load as load_data
from clip_robustness.datasets.load import only_classes_of, space_of
from clip_robustness.datasets.places import folder as place_of
from clip_robustness.datasets.subsets import only
from clip_robustness.errors import InputError, number_of, one_line
from clip_robustness.files import expanded
from clip_robustness.models.spec import ModelSpec, parse_all
from clip_robustness.suites.figures import beside_the_point, looked_through
from clip_robustness.suites.forecast import Asked, declared, forecast, sized
from clip_robustness.suites.read import faults, file_of, mistakes, parsed, plugins_in, sentences, suite_of
from clip_robustness.suites.rules import Limit
from clip_robustness.suites.schema import ALL_SLIPS, SuiteFile, slips
from clip_robustness.suites.suite import Suite
from clip_robustness.suites.tables import Conditions

Listed = dict[tuple[str, str], Dataset]
"""(Data set, folder in it) -> its images."""
_PROBE = "mini:supervised"
"""The model that attacks of plugins are tried on: small, and installed with the package."""


def main(name: str, arguments: Sequence[str]) -> int:
    """0 where nothing is wrong, 4 as `run` has it for wrong input."""
    parser = argparse.ArgumentParser(prog=f"clip-robustness {name}", description=__doc__)
    parser.add_argument("suite", help="a TOML file, or a shipped suite")
    parser.add_argument("--profile", help="rules and gate to start from (default: the suite's)")
    options = parser.parse_args(arguments)
    found = Findings()
    suite = checked(options.suite, options.profile, found)
    for problem in dict.fromkeys(found.wrong):
        print(one_line(f"wrong: {problem}"), file=sys.stderr)
    for note in dict.fromkeys(found.notes):
        print(one_line(f"note: {note}"))
    if found.wrong:
        return 4
    assert suite is not None
    for line in found.forecast:
        print(line)
    conditions = number_of(len(suite.conditions), "condition")
    print(f"{options.suite}: {conditions}; nothing is wrong that can be found without running it")
    return 0


class Findings:
    """What is wrong, and what a user should know that is not, a sentence each; what its images can show of its limits
    where nothing is wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.forecast: list[str] = []

    @contextmanager
    def of(self, where: str | Path = "") -> Iterator[None]:
        """Takes down what is wrong inside and goes on."""
        try:
            yield
        except (InputError, OSError) as error:
            self.wrong.append(f"{where}: {error}" if where and str(where) not in str(error) else str(error))


def checked(name_or_file: str, profile: str | None, found: Findings) -> Suite | None:
    """The suite as far as it can be read; None where it can't."""
    with found.of():
        file = file_of(name_or_file)
        with found.of(file):
            table = parsed(file)
            for plugin in plugins_in(table):
                with found.of(file):
                    registry.load_file(expanded(plugin, file.parent))
            settings = _settings(file, table, found)
            if settings is None:
                return None
            conditions = _made(file, settings.conditions, found)
            suite = suite_of(file, settings.model_copy(update={"profile": None}), conditions)
            with found.of(file):
                suite = suite_of(file, settings, conditions, profile)
            found.wrong += [f"{file}: {mistake}" for mistake in mistakes(suite)]
            _check_models(suite, found)
            _check_figures(suite, found)
            listed = _check_data(suite, found)
            _check_plugins(suite.conditions, found)
            if not found.wrong:
                found.forecast += _forecast(suite, listed)
            return suite
    return None


def _settings(file: Path, raw: dict[str, Any], found: Findings) -> SuiteFile | None:
    """What is left where what is wrong is left out; None where nothing is, or something is missing."""
    for _ in range(100):
        try:
            settings = SuiteFile.model_validate(raw, context=ALL_SLIPS)
        except ValidationError as error:
            found.wrong += [f"{file}: {said}" for said in sentences(error, raw)]
            left_out = [_left_out(raw, each["loc"]) for each in reversed(error.errors())]
            if not all(left_out):
                return None
            continue
        found.wrong += [f"{file}: {slip}" for slip in slips(settings)]
        return settings
    return None


def _left_out(raw: Any, place: Sequence[str | int]) -> bool:
    """Whether the innermost table or value at a place could be removed."""
    for at in range(len(place), 0, -1):
        inner = raw
        with suppress(KeyError, IndexError, TypeError):
            for key in place[: at - 1]:
                inner = inner[key]
            del inner[place[at - 1]]
            return True
    return False


def _made(file: Path, conditions: Conditions, found: Findings) -> list[Condition]:
    """Those that can be made; where some can't, the rest of them."""
    alone = [*faults(conditions)]
    found.wrong += [f"{file}: {fault}" for fault in alone]
    if not alone:  # what tables say of each other, as worst-of does
        with found.of(file):
            return list(conditions.expand())
    made: list[Condition] = []
    for _, part in conditions.parts():
        with suppress(InputError):
            made += part.expand()
    return made


def _check_models(suite: Suite, found: Findings) -> None:
    """That specs can be read and their files are there; of prompts and names of classes what is in them; of kinds of
    models that others registered that they can be imported."""
    classes = None
    with suppress(InputError):
        classes = class_list(suite.classes)
    given = suite.settings
    for text in (*given.candidate, *given.supervised, *([given.surrogate] if given.surrogate else [])):
        with found.of(suite.file):
            for spec in parse_all(text, suite.file.parent):
                with found.of(f"{suite.file}: model spec '{text}'"):
                    _check_words(spec, classes)
                    if (kind := registry.find("model", spec.kind)).version:
                        _ = kind.function


def _check_figures(suite: Suite, found: Findings) -> None:
    """Every line of the suite's published figures, as `calibrate` and runs read them."""
    with found.of(suite.file):
        if (file := suite.figures) and file.is_file():  # else it is told already
            figures, wrong = looked_through(file, tuple(suite.settings.data))
            found.wrong += wrong
            found.notes += beside_the_point(suite, file, figures)


def _check_words(spec: ModelSpec, classes: ClassList | None) -> None:
    options = spec.options
    if options.prompts:
        from clip_robustness.models.templates import read_prompts

        read_prompts(options.prompts)
    if options.class_names and options.class_names != "open_clip" and classes:
        renamed(classes, Path(options.class_names))


def _check_data(suite: Suite, found: Findings) -> Listed:
    """That every data set that a condition uses is there, in a layout that is read, with the labels of the classes, and
    belongs together as the suite says."""
    classes = None
    with found.of(suite.file):
        if suite.classes in CLASS_LISTS or Path(suite.classes).is_file():
            classes = class_list(suite.classes)
    used: dict[tuple[str, str], str | None] = {}
    for condition in suite.conditions:
        data = suite.data_of(condition)
        with suppress(InputError):
            used[data, condition.part] = suite.source(data)
    listed: Listed = {}
    for (data, part), source in used.items():
        if source is None and data in DATA_SETS:
            example = f'{data} = "/path/to/{data}"'
            found.notes.append(f"{suite.file}: conditions on '{data}' are not run: add {example} under [data]")
        elif source is not None and classes:
            together, apart = suite.clusters(data), suite.groups(data)
            if (together and clusters.fault_of(together)) or (apart and groups.fault_of(apart)):
                continue  # a slip of the suite, which is told already
            with found.of(suite.file):
                images = load_data(data, place_of(source), classes, part, together, apart)
                listed[data, part] = only(images, suite.settings.subset)
                found.notes += listed[data, part].warnings
    return listed


def _forecast(suite: Suite, listed: Listed) -> Iterator[str]:
    """Of the images that are listed, as many as `samples` lets through, and the suite's own candidates."""
    given = suite.settings
    candidates = sum(len(parse_all(text, suite.file.parent)) for text in given.candidate) or 1
    known: dict[tuple[str, str, str, int | None], Dataset] = {}

    def images(condition: Condition) -> Dataset | None:
        place = suite.data_of(condition), condition.part
        if place not in listed:
            return None
        count = min((n for n in (given.samples, condition.samples) if n is not None), default=None)
        key = (*place, condition.classes_of, count)
        if key not in known:
            every, classes = listed[place], class_list(suite.classes)
            if condition.classes_of != condition.data:
                name = condition.classes_of
                every = only_classes_of(space_of(name, place_of(suite.source(name) or ""), classes), every)
            known[key] = subsample(every, count, given.seed)
        return known[key]

    def limits(condition: Condition) -> list[Limit]:
        return [each for each in suite.deciding(condition) if not each.off and each.name != "max_regression"]

    asked = [
        Asked(limit, images(condition), declared(suite, condition))
        for condition in sized(suite, limits, candidates).conditions
        for limit in limits(condition)
    ]
    if said := [*forecast(asked * candidates, suite.gate)]:
        sampled = "all images" if given.samples is None else f"samples = {given.samples}"
        whose = f"the suite's {candidates} candidates" if given.candidate else "one candidate"
        yield f"forecast for {sampled} of what is listed, {whose}, and no --compare:"
        yield from said


def _check_plugins(conditions: Sequence[Condition], found: Findings) -> None:
    """That functions of others keep what the suite builds on: each is tried, on small images."""
    if not any(condition.registered and condition.registered.version for condition in conditions):
        return
    from clip_robustness import models
    from clip_robustness.conditions.promises import check, to_check

    for condition in to_check(conditions):
        with found.of():
            check(condition, lambda: models.load(_PROBE, class_list("mini")))
