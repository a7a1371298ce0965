"""A suite: which models run under which conditions on which images, and what is asserted. Read from TOML.

Light to import: no torch, no numpy; a suite is read before every collection of tests.
"""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from clip_robustness.conditions import registry
from clip_robustness.conditions.condition import (
    ATTACKS,
    CIFAR,
    CLEAN,
    CLEAN_SET,
    CORRUPTIONS,
    CORRUPTIONS_OF_MCE,
    DATA_SETS,
    NATURAL,
    NOT_NATURAL,
    PAIRS,
    SEVERITIES,
    STYLIZED,
    TYPOGRAPHIC,
    Condition,
    any_corruption,
    attack,
    corruption,
    mean_corruption,
    natural,
    overlap,
    perturbation,
    reference,
    stylized,
)
from clip_robustness.datasets.classes import CLASS_LISTS
from clip_robustness.errors import InputError, nearest
from clip_robustness.files import expanded
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.suites.rules import Limit, Rule, check, deciding

_SELECTABLE = re.compile(r"[\w.+-]+", re.ASCII)
_REMOTE = re.compile(r"\w+://|pipe:")
FOLDER = Path(__file__).parent
SHIPPED = tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))
PROFILES = tuple(sorted(p.stem for p in FOLDER.glob("profiles/*.toml")))

Samples = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corruptions(_Strict):
    """Which cells of imagenet-c run, and their mean, where none of the benchmark's is missing; `samples` images where
    that is less than the suite's."""

    corruptions: tuple[str, ...] = CORRUPTIONS
    severities: tuple[int, ...] = SEVERITIES
    samples: Samples | None = None

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.corruptions:
            for severity in self.severities:
                yield corruption(name, severity, on_disk=on_disk, samples=self.samples)
        if set(CORRUPTIONS_OF_MCE) <= set(self.corruptions) and set(SEVERITIES) <= set(self.severities):
            yield mean_corruption(on_disk=on_disk)


class AnyCorruptions(_Strict):
    """Corruptions on the fly, ours and those of plugins."""

    names: tuple[str, ...]
    severities: tuple[int, ...] = SEVERITIES
    samples: Samples | None = None

    def expand(self) -> Iterator[Condition]:
        for name in self.names:
            for severity in self.severities:
                yield any_corruption(name, severity, self.samples)


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

    @field_validator("eps", mode="before")
    @classmethod
    def _texts(cls, given: object) -> object:
        """One eps needs no list, and 0.03 no quotes."""
        listed = given if isinstance(given, list) else [given]
        return tuple(str(eps) if isinstance(eps, int | float) else eps for eps in listed)

    def expand(self) -> Iterator[Condition]:
        options = {"normalized": self.eps_space == "normalized", "rounded": self.round_to_8bit}
        for name in self.names:
            for eps in self.eps if not name.startswith(TYPOGRAPHIC) else ("",):
                yield attack(name, eps, pairs=self.pairs, samples=self.samples, **options)


class Conditions(_Strict):
    natural: tuple[str, ...] = ()
    corruptions: AnyCorruptions | None = None
    imagenet_c: Corruptions | None = Field(None, alias="imagenet-c")
    imagenet_c_disk: Corruptions | None = Field(None, alias="imagenet-c-disk")
    imagenet_p: Perturbations | None = Field(None, alias="imagenet-p")
    imagenet_p_disk: Perturbations | None = Field(None, alias="imagenet-p-disk")
    stylized: Stylized | None = None
    attacks: tuple[Attacks, ...] = ()
    """One table, or a list of them."""
    overlap: str | None = None
    """An overlap.json of `clip-robustness overlap`, or `mini:pretraining`, which is analysed on first use."""

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
        yield from self.corruptions.expand() if self.corruptions else ()
        for made, on_disk in ((self.imagenet_c, False), (self.imagenet_c_disk, True)):
            yield from made.expand(on_disk=on_disk) if made else ()
        for seen, on_disk in ((self.imagenet_p, False), (self.imagenet_p_disk, True)):
            yield from seen.expand(on_disk=on_disk) if seen else ()
        yield from styles
        for table in self.attacks:
            yield from table.expand()
        if self.overlap is not None:
            yield from (overlap(shift) for shift in (CLEAN, *shifts) if not shift.all_names)


class Gate(_Strict):
    """How verdicts are reached, and what they do.

    `alpha` is the probability that a run fails although all limits are kept, or passes a cell although one is not, half
    of it each. `report_only`: no verdict fails a test. `stop_early`: a cell ends as soon as its verdict is settled.
    `require_limits`: a run that no limit decides does not pass.
    """

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    on_inconclusive: Literal["warn", "fail"] = "warn"
    require_all: bool = False
    require_limits: bool = False
    stop_early: bool = False
    report_only: bool = False


class Profile(_Strict):
    """What a suite starts from: a way to reach verdicts, and rules. The suite's rules come before equally specific
    ones, limit by limit."""

    gate: Gate = Gate()
    rules: tuple[Rule, ...] = ()


class SuiteFile(_Strict):
    """The schema of a suite's TOML."""

    classes: str = "imagenet"
    clean: str | None = None
    """Which data set is the clean reference; default: imagenet, or with the classes of CIFAR-10 cifar10."""
    candidate: tuple[str, ...] = ()
    supervised: tuple[str, ...] = ()
    samples: Samples | None = None
    seed: int = 0
    surrogate: str | None = None
    plugins: tuple[str, ...] = ()
    """Python files with corruptions and attacks of the user's own; they are run."""
    data: dict[str, str]
    conditions: Conditions
    profile: str | None = None
    gate: Gate | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def clean_set(self) -> str:
        """The name of the clean reference under `[data]`."""
        return self.clean or (CIFAR if self.classes == CIFAR and CIFAR in self.data else CLEAN_SET)

    @model_validator(mode="after")
    def _names(self) -> SuiteFile:
        """A data set of the user's own is named under `[data]` and where it is used: slips in either are seen."""
        used = [self.clean] if self.clean is not None else []
        used += [name for name in self.conditions.natural if name not in NATURAL]
        for name in used:
            if name in NOT_NATURAL and name != self.clean:
                raise ValueError(f"'{name}' is no natural shift; {nearest(name, NATURAL)}")
            if name not in self.data:
                raise ValueError(f"no data set '{name}' under [data]; {nearest(name, (*self.data, *NATURAL))}")
            if not _SELECTABLE.fullmatch(name) or "adversarial" in name.lower() or name == CLEAN.name:
                raise ValueError(
                    f"data set '{name}': names are part of test ids; use letters, digits, '.', '+', '_' and '-', and "
                    "neither 'clean' nor the word adversarial, which selects the attacks"
                )
        if unknown := [name for name in self.data if name not in (*DATA_SETS, *used)]:
            raise ValueError(
                f"data set '{unknown[0]}' is neither a known one nor named by natural or clean; "
                f"{nearest(unknown[0], DATA_SETS)}"
            )
        return self


@dataclass(frozen=True)
class Suite:
    """A suite that was read. Relative files and folders are relative to the TOML; `~` and `$VAR` stand for others."""

    name: str
    file: Path
    settings: SuiteFile
    conditions: tuple[Condition, ...]
    gate: Gate
    profile: Profile
    """What the suite starts from."""
    profile_name: str = ""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The suite's own, then those of the profile."""
        return (*self.settings.rules, *self.profile.rules)

    def deciding(self, condition: Condition) -> list[Limit]:
        """As `rules.deciding`: the suite's rules come before equally specific ones of the profile."""
        return deciding(self.rules, condition)

    @property
    def limits(self) -> set[str]:
        """Names of those that decide any condition."""
        return {limit.name for condition in self.conditions for limit in self.deciding(condition) if not limit.off}

    def whose(self, rule: Rule) -> str:
        """What to call a rule: by its pattern, and where it stands."""
        place = "the suite" if rule in self.settings.rules else f"profile '{self.profile_name}'"
        return f"rule '{rule.match}' of {place}"

    @property
    def overlap(self) -> str | None:
        """Where near-duplicates are named: a file, or `mini:pretraining`."""
        place = self.settings.conditions.overlap
        return place if place is None or place.startswith("mini:") else str(expanded(place, self.file.parent))

    @property
    def plugins(self) -> tuple[Path, ...]:
        return tuple(expanded(plugin, self.file.parent) for plugin in self.settings.plugins)

    @property
    def classes(self) -> str:
        """The name of a known class list, or the path of a file."""
        file = expanded(self.settings.classes, self.file.parent)
        return str(file) if file.is_file() else self.settings.classes

    def data_of(self, condition: Condition) -> str:
        """What the suite calls the data set that a condition is evaluated on."""
        return self.settings.clean_set if condition.data == CLEAN_SET else condition.data

    def source(self, data: str) -> str | None:
        """Where a data set is: a folder, `flat:` images with a table, `wds:` shards, an `hf:` data set, or `mini:NAME`
        for the drawn world; None where the suite names none."""
        source = self.settings.data.get(data)
        if source is None or source.startswith("mini:"):
            return source
        kind, _, place = source.partition(":")
        folder = self.file.parent
        if kind == "wds":  # several places stand between '::'
            shards = place.split("::")
            return "wds:" + "::".join(s if _REMOTE.match(s) else str(expanded(s, folder)) for s in shards)
        if kind == "hf":
            name, mark, options = place.partition("?")
            table = expanded(name, folder)
            return f"hf:{table}{mark}{options}" if name[:1] in (*"./~$",) or table.is_dir() else source
        if kind == "flat":
            images, mark, labels = place.partition("?labels=")
            beside = expanded(labels, folder)  # else it is beside the images
            return f"flat:{expanded(images, folder)}{mark}{beside if beside.is_file() else labels}"
        return str(expanded(source, folder))


def load(name_or_file: str, profile: str | None = None) -> Suite:
    """Read a shipped suite by its name, or a TOML file, and the profile that it starts from, its own or the given one.

    Raises `InputError` naming the file, the key and the nearest valid one.
    """
    file = FOLDER / f"{name_or_file}.toml" if name_or_file in SHIPPED else expanded(name_or_file)
    if not file.is_file():
        raise InputError(
            f"--suite {name_or_file}: neither a file nor a shipped suite; {nearest(name_or_file, SHIPPED)}"
        )
    try:
        settings = SuiteFile.model_validate(_toml(file))
        for plugin in settings.plugins:
            registry.load_file(expanded(plugin, file.parent))
        found = dict.fromkeys(settings.conditions.expand())
        # mCE is relative to AlexNet's errors, which are known for ImageNet's classes alone
        conditions = tuple(c for c in found if not c.averaged or settings.classes == "imagenet")
    except ValidationError as error:
        raise InputError(f"{file}: {_sentence(error)}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    start = _profile(profile or settings.profile, file)
    given, own = start.gate.model_dump(exclude_unset=True), (settings.gate or Gate()).model_dump(exclude_unset=True)
    gate = Gate(**(own | given if profile else given | own))
    suite = Suite(file.stem, file.resolve(), settings, conditions, gate, start, profile or settings.profile or "")
    try:
        _ = (suite.classes, suite.overlap, *map(suite.source, settings.data))
    except InputError as error:  # of a variable that is not set: before anything runs
        raise InputError(f"{file}: {error}") from None
    if settings.classes not in CLASS_LISTS and suite.classes == settings.classes:
        raise InputError(
            f"{file}: 'classes': '{settings.classes}' is neither a known class list nor a file; "
            f"{nearest(settings.classes, CLASS_LISTS)}"
        )
    for rule in settings.rules:
        if not any(rule.matches(condition) for condition in conditions):
            raise InputError(
                f"{file}: rule '{rule.match}' matches no condition; {nearest(rule.match, (c.path for c in conditions))}"
            )
    try:
        check(settings.rules, start.rules, [c for c in conditions if c.compared == c])
    except InputError as error:
        raise InputError(f"{suite.file}: {error}") from None
    return suite


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
        return Profile.model_validate(_toml(file))
    except ValidationError as error:
        raise InputError(f"{file}: {_sentence(error)}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _toml(file: Path) -> dict[str, Any]:
    """Raises `InputError`, which does not name the file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError("not a text file in UTF-8") from None
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, of thousands of brackets
        raise InputError(f"not valid TOML: {error}") from None


def _sentence(error: ValidationError) -> str:
    """One thing that pydantic found wrong, a misspelt key first, with the nearest valid one."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *parents, key = first["loc"] or ("",)
    where = ".".join(part for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'; {nearest(str(key), _keys(SuiteFile, parents))}"
    if first["type"] == "value_error":
        return f"'{where}': {first['ctx']['error']}" if where else str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    return f"'{where}': {first['msg'][0].lower()}{first['msg'][1:]}, got {reprlib.repr(first['input'])}"


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
