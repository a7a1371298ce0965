"""A suite: which models run under which conditions on which images, and what is asserted. Read from TOML.

Light to import: no torch, no numpy; a suite is read before every collection of tests.
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.classes import CLASS_LISTS
from models.errors import InputError, nearest
from suites.conditions import (
    ATTACKS,
    CIFAR,
    CLEAN,
    CLEAN_SET,
    CORRUPTIONS,
    DATA_SETS,
    PAIRS,
    PERTURBATIONS,
    SEVERITIES,
    STYLIZED,
    TYPOGRAPHIC,
    Condition,
    attack,
    corruption,
    natural,
    perturbation,
    reference,
    stylized,
)

FOLDER = Path(__file__).parent
SHIPPED = tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))

Share = Annotated[float, Field(ge=0, le=1)]
Samples = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corruptions(_Strict):
    """Which cells of imagenet-c run; `samples` images where that is less than the suite's."""

    corruptions: tuple[str, ...] = CORRUPTIONS
    severities: tuple[int, ...] = SEVERITIES
    samples: Samples | None = None

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.corruptions:
            for severity in self.severities:
                yield corruption(name, severity, on_disk=on_disk, samples=self.samples)


class Perturbations(_Strict):
    """Which sequences of imagenet-p run, at which difficulties."""

    perturbations: tuple[str, ...] = PERTURBATIONS
    difficulties: tuple[int, ...] = (1,)
    samples: Samples | None = None

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.perturbations:
            for difficulty in self.difficulties:
                yield perturbation(name, difficulty, on_disk=on_disk, samples=self.samples)


class Stylized(_Strict):
    """Which stylized sets run."""

    names: tuple[str, ...] = STYLIZED
    samples: Samples | None = None


class Attacks(_Strict):
    """Which attacks run, at which eps in pixel units; 'min' among them searches the smallest for each image."""

    names: tuple[str, ...] = ATTACKS
    eps: tuple[str, ...] = ("1/255", "2/255", "4/255", "8/255")
    samples: Samples | None = None
    pairs: Annotated[int, Field(ge=1)] = PAIRS
    eps_space: Literal["pixel", "normalized"] = "pixel"
    round_to_8bit: bool = False

    def expand(self) -> Iterator[Condition]:
        options = {"normalized": self.eps_space == "normalized", "rounded": self.round_to_8bit}
        for name in self.names:
            for eps in self.eps if not name.startswith(TYPOGRAPHIC) else ("",):
                yield attack(name, eps, pairs=self.pairs, samples=self.samples, **options)


class Conditions(_Strict):
    natural: tuple[str, ...] = ()
    imagenet_c: Corruptions | None = Field(None, alias="imagenet-c")
    imagenet_c_disk: Corruptions | None = Field(None, alias="imagenet-c-disk")
    imagenet_p: Perturbations | None = Field(None, alias="imagenet-p")
    imagenet_p_disk: Perturbations | None = Field(None, alias="imagenet-p-disk")
    stylized: Stylized | None = None
    attacks: tuple[Attacks, ...] = ()
    """One table, or a list of them."""

    @field_validator("attacks", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return (given,) if isinstance(given, dict) else given

    def expand(self) -> Iterator[Condition]:
        """All conditions in the order of the report; the clean one and the clean references of shifts always run."""
        shifts = [natural(name) for name in self.natural]
        styles = [stylized(name, self.stylized.samples) for name in self.stylized.names] if self.stylized else []
        yield from dict.fromkeys([CLEAN, *(reference(shift) for shift in (*shifts, *styles))])
        yield from shifts
        for made, on_disk in ((self.imagenet_c, False), (self.imagenet_c_disk, True)):
            yield from made.expand(on_disk=on_disk) if made else ()
        for seen, on_disk in ((self.imagenet_p, False), (self.imagenet_p_disk, True)):
            yield from seen.expand(on_disk=on_disk) if seen else ()
        yield from styles
        for table in self.attacks:
            yield from table.expand()


class Rule(_Strict):
    """What is asserted of the conditions whose `family/id` matches `match` (a glob); the last one that matches decides.

    `min_accuracy` and `max_drop_vs_supervised` are shares: 0.05 is five points. `known_weakness` gives the reason why
    the rule is expected to fail: the test is then a strict xfail.
    """

    match: str
    min_accuracy: Share | None = None
    max_drop_vs_supervised: Share | None = None
    known_weakness: str | None = None

    @model_validator(mode="after")
    def _weak_in_something(self) -> Rule:
        if self.known_weakness is not None and self.min_accuracy is None and self.max_drop_vs_supervised is None:
            raise ValueError("known_weakness needs min_accuracy or max_drop_vs_supervised: what is expected to fail?")
        return self


class SuiteFile(_Strict):
    """The schema of a suite's TOML."""

    classes: str = "imagenet"
    candidate: tuple[str, ...] = ()
    supervised: tuple[str, ...] = ()
    samples: Samples | None = None
    seed: int = 0
    surrogate: str | None = None
    data: dict[str, str]
    conditions: Conditions
    rules: tuple[Rule, ...] = ()

    @field_validator("data")
    @classmethod
    def _known(cls, data: dict[str, str]) -> dict[str, str]:
        if unknown := [name for name in data if name not in DATA_SETS]:
            raise ValueError(f"data set '{unknown[0]}' is unknown; {nearest(unknown[0], DATA_SETS)}")
        return data


@dataclass(frozen=True)
class Suite:
    """A suite that was read. Relative files and folders are relative to the TOML, or to `~`."""

    name: str
    file: Path
    settings: SuiteFile
    conditions: tuple[Condition, ...]

    def rule(self, condition: Condition) -> Rule | None:
        """The last rule whose pattern matches; None asserts nothing."""
        matching = [r for r in self.settings.rules if fnmatch.fnmatchcase(condition.path, r.match)]
        return matching[-1] if matching else None

    @property
    def classes(self) -> str:
        """The name of a known class list, or the path of a file."""
        file = self.file.parent / Path(self.settings.classes).expanduser()
        return str(file) if file.is_file() else self.settings.classes

    def source(self, data: str) -> str | None:
        """Where a data set is: a folder, `wds:` shards, an `hf:` data set, or `mini:NAME` for the drawn world; None
        where the suite names none."""
        source = self.settings.data.get(data)
        if data == CLEAN_SET and self.settings.classes == CIFAR:
            source = self.settings.data.get(CIFAR, source)
        if source is None or source.startswith("mini:"):
            return source
        prefix = next((p for p in ("wds:", "hf:") if source.startswith(p)), "")
        place = source.removeprefix(prefix)
        if (prefix == "wds:" and ("://" in place or place.startswith("pipe:"))) or (
            prefix == "hf:" and place[:1] not in (".", "/", "~")
        ):
            return source
        return f"{prefix}{self.file.parent / Path(place).expanduser()}"


def load(name_or_file: str) -> Suite:
    """Read a shipped suite by its name, or a TOML file.

    Raises `InputError` naming the file, the key and the nearest valid one.
    """
    file = FOLDER / f"{name_or_file}.toml" if name_or_file in SHIPPED else Path(name_or_file).expanduser()
    if not file.is_file():
        raise InputError(
            f"--suite {name_or_file}: neither a file nor a shipped suite; {nearest(name_or_file, SHIPPED)}"
        )
    try:
        settings = SuiteFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        conditions = tuple(dict.fromkeys(settings.conditions.expand()))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a text file in UTF-8") from None
    except ValidationError as error:
        raise InputError(f"{file}: {_sentence(error)}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    suite = Suite(file.stem, file.resolve(), settings, conditions)
    if settings.classes not in CLASS_LISTS and suite.classes == settings.classes:
        raise InputError(
            f"{file}: 'classes': '{settings.classes}' is neither a known class list nor a file; "
            f"{nearest(settings.classes, CLASS_LISTS)}"
        )
    for rule in settings.rules:
        if not any(fnmatch.fnmatchcase(c.path, rule.match) for c in conditions):
            raise InputError(
                f"{file}: rule '{rule.match}' matches no condition; {nearest(rule.match, (c.path for c in conditions))}"
            )
    return suite


def _sentence(error: ValidationError) -> str:
    """One thing that pydantic found wrong, a misspelt key first, with the nearest valid one."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *parents, key = first["loc"] or ("",)
    where = ".".join(part for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'; {nearest(str(key), _keys(SuiteFile, parents))}"
    if first["type"] == "value_error":
        return f"'{where}': {first['ctx']['error']}"
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    return f"'{where}': {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The valid keys of the table at `path`."""
    for part in path:
        if isinstance(part, str):
            field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
            tables = list(_models_in(field.annotation)) if field else []
            if tables:
                model = tables[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
