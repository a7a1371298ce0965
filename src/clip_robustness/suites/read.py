"""From a TOML file, or the name of a shipped one, to a suite."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from clip_robustness import registry
from clip_robustness.conditions.catalogue import known_shifts
from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets.classes import CLASS_LISTS
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded
from clip_robustness.suites.rules import Rule, check, limit_names
from clip_robustness.suites.schema import Gate, Profile, SuiteFile
from clip_robustness.suites.suite import Suite
from clip_robustness.suites.tables import Conditions

FOLDER = Path(__file__).parent
SHIPPED = tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))
PROFILES = tuple(sorted(p.stem for p in FOLDER.glob("profiles/*.toml")))


def load(name_or_file: str, profile: str | None = None) -> Suite:
    """Read a shipped suite by its name, or a TOML file, and the profile that it starts from, its own or the given one.

    Raises `InputError` naming the file, the key and the nearest valid one.
    """
    file = file_of(name_or_file)
    try:
        table = parsed(file)
        for plugin in plugins_in(table):
            registry.load_file(expanded(plugin, file.parent))
        settings = SuiteFile.model_validate(table)
        try:
            conditions = [*settings.conditions.expand()]
        except InputError as error:
            raise InputError(next(faults(settings.conditions), error)) from None
    except ValidationError as error:
        raise InputError(f"{file}: {sentences(error, table)[0]}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    suite = suite_of(file, settings, conditions, profile)
    for mistake in mistakes(suite):
        raise InputError(f"{file}: {mistake}")
    return suite


def file_of(name_or_file: str) -> Path:
    """Raises `InputError` where there is none."""
    file = FOLDER / f"{name_or_file}.toml" if name_or_file in SHIPPED else expanded(name_or_file)
    if not file.is_file():
        raise InputError(
            f"--suite {name_or_file}: neither a file nor a shipped suite; {nearest(name_or_file, SHIPPED)}"
        )
    return file


def suite_of(file: Path, settings: SuiteFile, conditions: Iterable[Condition], profile: str | None = None) -> Suite:
    """With the profile that it starts from. Raises `InputError` for one that can't be read."""
    start = _profile(profile or settings.profile, file)
    given, own = start.gate.model_dump(exclude_unset=True), (settings.gate or Gate()).model_dump(exclude_unset=True)
    gate = Gate(**(own | given if profile else given | own))
    # mCE is relative to AlexNet's errors, which are known for ImageNet's classes alone
    found = tuple(
        replace(c, file=str(expanded(c.file, file.parent))) if c.file else c
        for c in dict.fromkeys(conditions)
        if not c.kind.is_mce or settings.classes == "imagenet"
    )
    return Suite(file.stem, file.resolve(), settings, found, gate, start, profile or settings.profile or "")


def mistakes(suite: Suite) -> Iterator[str]:
    """What is wrong with a suite that can be read, a sentence each."""
    settings = suite.settings
    try:
        _ = (suite.classes, suite.overlap)
        if settings.classes not in CLASS_LISTS and suite.classes == settings.classes:
            yield (
                f"'classes': '{settings.classes}' is neither a known class list nor a file; "
                f"{nearest(settings.classes, CLASS_LISTS)}"
            )
    except InputError as error:
        yield str(error)
    for name in settings.data:
        try:
            suite.source(name)
        except InputError as error:  # of a variable that is not set: before anything runs
            yield f"'data.{name}': {error}"
    overlap = settings.conditions.overlap
    files = [("figures", settings.figures)]
    files += [("conditions.overlap", overlap)] if overlap and not overlap.startswith("mini:") else []
    files += [("conditions.attacks.file", table.file) for table in settings.conditions.attacks]
    files += [("conditions.text.file", table.file) for table in settings.conditions.text]
    for key, place in files:
        if place and not (file := expanded(place, suite.file.parent)).is_file():
            yield f"'{key}': there is no file {file}"
    for condition in suite.conditions:
        if (pair := condition.kind.compared_with) and pair not in (*known_shifts(), *settings.data):
            yield (
                f"{registry.find('shift', condition.kind.data)}: compared_with: '{pair}' is no natural shift; "
                f"{nearest(pair, known_shifts())}"
            )
    for rule in settings.rules:
        if not any(rule.matches(condition) for condition in suite.conditions):
            paths = (condition.path for condition in suite.conditions)
            yield f"rule '{rule.match}' matches no condition; {nearest(rule.match, paths)}"
    try:
        check(settings.rules, suite.profile.rules, [c for c in suite.conditions if c.compared == c], suite.whose)
    except InputError as error:
        yield str(error)


def faults(conditions: Conditions) -> Iterator[str]:
    """What is wrong with the tables of conditions, a sentence each, with the table."""
    for where, part in conditions.parts():
        try:
            _ = [*part.expand()]
        except InputError as error:
            yield f"{where}: {error}"


def _profile(name_or_file: str | None, suite: Path) -> Profile:
    if name_or_file is None:
        return Profile()
    shipped = FOLDER / "profiles" / f"{name_or_file}.toml"
    file = shipped if name_or_file in PROFILES else expanded(name_or_file, suite.parent)
    if not file.is_file():
        raise InputError(
            f"profile '{name_or_file}': neither a file nor a shipped profile; {nearest(name_or_file, PROFILES)}"
        )
    try:
        table = parsed(file)
        return Profile.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{file}: {sentences(error, table)[0]}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def parsed(file: Path) -> dict[str, Any]:
    """Raises `InputError`, which does not name the file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError("not a text file in UTF-8") from None
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, of thousands of brackets
        raise InputError(f"not valid TOML: {error}") from None


def sentences(error: ValidationError, table: Mapping[str, Any]) -> Sequence[str]:
    """What pydantic found wrong in a file's table, misspelt keys first, with the nearest valid ones."""
    return [_sentence(each, table) for each in sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")]


def plugins_in(table: Mapping[str, Any]) -> list[str]:
    """Of a suite's table that was not validated: plugins register what the rest of it may name."""
    given = table.get("plugins", [])
    return [text for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)]


def _sentence(error: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    *parents, key = error["loc"] or ("",)
    where = ".".join(part for part in error["loc"] if isinstance(part, str))
    place = _place(error["loc"], table)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{where}'{place}; {nearest(str(key), _keys(SuiteFile, parents))}"
    if error["type"] == "value_error":
        return f"'{where}'{place}: {error['ctx']['error']}" if where else str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"the key '{where}' is missing{place}"
    return f"'{where}'{place}: {error['msg'][0].lower()}{error['msg'][1:]}, got {reprlib.repr(error['input'])}"


def _place(path: Sequence[str | int], table: Any) -> str:
    """Which table or value of a list a path leads to: " in [[rules]] 2 (match = 'clean/*')"."""
    said = ""
    for i, part in enumerate(path):
        if isinstance(part, int) and not isinstance(table, list):  # a list to us, one value in the file
            continue
        try:
            table = table[part]
        except (LookupError, TypeError):
            break
        if isinstance(part, int) and isinstance(table, dict):
            match = f" (match = '{table['match']}')" if "match" in table else ""
            said += f" in [[{'.'.join(map(str, path[:i]))}]] {part + 1}{match}"
        elif isinstance(part, int):
            said += f", value {part + 1}"
    return said


def _keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The valid keys of the table at `path`."""
    for part in path:
        if isinstance(part, str):
            field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
            tables = list(_models_in(field.annotation)) if field else []
            if tables:
                model = tables[0]
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return [*keys, *limit_names()] if model is Rule else keys


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
