"""What a suite's TOML and a profile may say. Light to import: no torch, no numpy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from clip_robustness.conditions.benchmark import ATTACKS, CORRUPTIONS, CORRUPTIONS_OF_MCE, STYLIZED
from clip_robustness.conditions.catalogue import kind_of, known_shifts
from clip_robustness.conditions.condition import (
    CIFAR,
    CLEAN,
    DATA_SETS,
    NOT_NATURAL,
    PAIRS,
    SEVERITIES,
    Condition,
    any_corruption,
    attack,
    attack_kind,
    corruption,
    corruption_of_set,
    mean_corruption,
    natural,
    overlap,
    perturbation,
    reference,
    stylized,
    wording,
)
from clip_robustness.conditions.kind import CLEAN_SET
from clip_robustness.conditions.kinds import of_kind
from clip_robustness.conditions.seeds import over_seeds
from clip_robustness.conditions.worst import worst_cases
from clip_robustness.datasets import clusters, groups
from clip_robustness.errors import nearest
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.suites.rules import Rule, limit_names

_SELECTABLE = re.compile(r"[\w.+-]+", re.ASCII)
Samples = Annotated[int, Field(ge=1)]
Seeds = Annotated[int, Field(ge=1, le=100)]
"""Under how many a condition with random parts runs; the first is the run's."""
_listed = BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,))
Names = Annotated[tuple[str, ...], _listed]
"""One needs no list."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corruptions(_Strict):
    """Which cells of imagenet-c run, and their mean, where none of the benchmark's is missing; `samples` images where
    that is less than the suite's."""

    corruptions: Names = CORRUPTIONS
    severities: Annotated[tuple[int, ...], _listed] = SEVERITIES
    samples: Samples | None = None
    seeds: Seeds = 1

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.corruptions:
            for severity in self.severities:
                yield over_seeds(corruption(name, severity, on_disk=on_disk, samples=self.samples), self.seeds)
        if set(CORRUPTIONS_OF_MCE) <= set(self.corruptions) and set(SEVERITIES) <= set(self.severities):
            yield mean_corruption(on_disk=on_disk)


class CorruptionSets(_Strict):
    """Which cells of published sets in ImageNet-C's layout run, and the mean over each where none is missing."""

    names: Names
    corruptions: Names | None = None
    severities: Annotated[tuple[int, ...], _listed] = SEVERITIES
    samples: Samples | None = None

    def expand(self) -> Iterator[Condition]:
        for data in self.names:
            every = kind_of("synthetic", data).over
            for name in self.corruptions or every or ("",):
                for severity in self.severities:
                    yield corruption_of_set(data, name, severity, self.samples)
            if set(every) <= set(self.corruptions or every) and set(SEVERITIES) <= set(self.severities):
                yield Condition("synthetic", f"{data}-mean")


class AnyCorruptions(_Strict):
    """Corruptions on the fly, ours and those of plugins."""

    names: Names
    severities: Annotated[tuple[int, ...], _listed] = SEVERITIES
    samples: Samples | None = None
    seeds: Seeds = 1

    def expand(self) -> Iterator[Condition]:
        for name in self.names:
            for severity in self.severities:
                yield over_seeds(any_corruption(name, severity, self.samples), self.seeds)


class Kinds(BaseModel):
    """A kind of condition that others registered whole; what else is given are values of its parameters."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    samples: Samples | None = None

    def expand(self) -> Iterator[Condition]:
        given = {key: value if isinstance(value, list) else [value] for key, value in (self.model_extra or {}).items()}
        yield from of_kind(self.name, given, self.samples)


class Perturbations(_Strict):
    """Which sequences of imagenet-p run, at which difficulties."""

    perturbations: Names = PERTURBATIONS
    difficulties: Annotated[tuple[int, ...], _listed] = (1,)
    samples: Samples | None = None
    seeds: Seeds = 1

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.perturbations:
            for difficulty in self.difficulties:
                yield over_seeds(perturbation(name, difficulty, on_disk=on_disk, samples=self.samples), self.seeds)


class Stylized(_Strict):
    """Which stylized sets run."""

    names: Names = STYLIZED
    samples: Samples | None = None


class Attacks(_Strict):
    """Which attacks run, at which eps in pixel units; 'min' among them searches the smallest for each image."""

    names: Names = ATTACKS
    eps: Names = ("1/255", "2/255", "4/255", "8/255")
    samples: Samples | None = None
    seeds: Seeds = 1
    pairs: Annotated[int, Field(ge=1)] = PAIRS
    eps_space: Literal["pixel", "normalized"] = "pixel"
    round_to_8bit: bool = False
    file: str = ""
    """What those take that take a file, relative to the suite."""

    @field_validator("eps", mode="before")
    @classmethod
    def _texts(cls, given: object) -> object:
        """0.03 needs no quotes."""
        listed = given if isinstance(given, list) else [given]
        return [str(eps) if isinstance(eps, int | float) else eps for eps in listed]

    def expand(self) -> Iterator[Condition]:
        options: dict[str, bool] = {"normalized": self.eps_space == "normalized", "rounded": self.round_to_8bit}
        for name in self.names:
            for eps in self.eps if attack_kind(name).eps else ("",):
                made = attack(name, eps, pairs=self.pairs, samples=self.samples, file=self.file, **options)
                yield over_seeds(made, self.seeds)


class Texts(_Strict):
    """In which other words zero-shot models are asked: `file` and `prompts` for names that it has, relative to the
    suite."""

    names: Names
    file: str | None = None
    prompts: str | None = None
    samples: Samples | None = None

    def expand(self) -> Iterator[Condition]:
        for name in self.names:
            yield wording(name, self.file, self.samples)


class Conditions(_Strict):
    natural: Names = ()
    corruptions: AnyCorruptions | None = None
    imagenet_c: Corruptions | None = Field(None, alias="imagenet-c")
    imagenet_c_disk: Corruptions | None = Field(None, alias="imagenet-c-disk")
    corruption_sets: Annotated[tuple[CorruptionSets, ...], _listed] = Field((), alias="corruption-sets")
    """One table, or a list of them."""
    imagenet_p: Perturbations | None = Field(None, alias="imagenet-p")
    imagenet_p_disk: Perturbations | None = Field(None, alias="imagenet-p-disk")
    stylized: Stylized | None = None
    kinds: Annotated[tuple[Kinds, ...], _listed] = ()
    """One table, or a list of them."""
    attacks: Annotated[tuple[Attacks, ...], _listed] = ()
    """One table, or a list of them."""
    worst_of: tuple[Names, ...] = Field((), alias="worst-of")
    """Members of a worst case, or a list of such lists, as `conditions.worst.worst_cases` reads them."""
    text: Annotated[tuple[Texts, ...], _listed] = ()
    """One table, or a list of them."""
    overlap: str | None = None
    """An overlap.json of `clip-robustness overlap`, or `mini:pretraining`, which is analysed on first use."""

    @field_validator("worst_of", mode="before")
    @classmethod
    def _one_list(cls, given: object) -> object:
        return [given] if isinstance(given, list) and all(isinstance(each, str) for each in given) else given

    def expand(self) -> Iterator[Condition]:
        """All conditions in the order of the report; the clean one and the clean references of shifts always run."""
        found = list(self._alone())
        yield from found
        for names in self.worst_of:
            yield from worst_cases(names, found)
        if self.overlap is not None:
            shifts = map(natural, self.natural)
            yield from (overlap(shift) for shift in (CLEAN, *shifts) if not shift.kind.all_names)

    def _alone(self) -> Iterator[Condition]:
        shifts = [natural(name) for name in self.natural]
        styles = [stylized(name, self.stylized.samples) for name in self.stylized.names] if self.stylized else []
        attacks = [condition for table in self.attacks for condition in table.expand()]
        published = [condition for condition in attacks if condition.kind.compared_with]
        yield from dict.fromkeys([CLEAN, *(reference(shift) for shift in (*shifts, *styles, *published))])
        yield from shifts
        yield from self.corruptions.expand() if self.corruptions else ()
        for made, on_disk in ((self.imagenet_c, False), (self.imagenet_c_disk, True)):
            yield from made.expand(on_disk=on_disk) if made else ()
        for sets in self.corruption_sets:
            yield from sets.expand()
        for seen, on_disk in ((self.imagenet_p, False), (self.imagenet_p_disk, True)):
            yield from seen.expand(on_disk=on_disk) if seen else ()
        yield from styles
        for kind in self.kinds:
            yield from kind.expand()
        yield from attacks
        for words in self.text:
            yield from words.expand()

    def parts(self) -> Iterator[tuple[str, Conditions]]:
        """The same, each with one table of one name at one eps, severity or difficulty, and what to call the table."""
        nothing = Conditions.model_validate({})
        yield "'conditions.natural'", nothing.model_copy(update={"natural": self.natural, "overlap": self.overlap})
        for field, description in Conditions.model_fields.items():
            value, key = getattr(self, field), f"conditions.{description.alias or field}"
            tables = value if isinstance(value, tuple) else (value,)
            for number, table in enumerate(tables, 1):
                if not isinstance(table, BaseModel):
                    continue
                lists = {name: given for name, given in table if isinstance(given, tuple)}
                for chosen in product(*lists.values()):
                    one = table.model_copy(update={name: (each,) for name, each in zip(lists, chosen, strict=True)})
                    part = nothing.model_copy(update={field: (one,) if tables is value else one})
                    yield f"'{key}'" + (f", table {number}" if len(tables) > 1 else ""), part


class Gate(_Strict):
    """How verdicts are reached, and what they do.

    `alpha` is the probability that a run fails although all limits are kept, or passes a cell although one is not, half
    of it each. `report_only`: no verdict fails a test. `stop_early`: a cell ends as soon as its verdict is settled.
    `require_limits`: a run that no limit decides does not pass. `correction` is for many limits: Holm's keeps `alpha`
    for any false failure of a run, the others for the expected share of false ones among its failures.
    `trend_interval`: whether an effective robustness has to be beyond what single supervised models scatter about their
    trend, or beyond what is not known of the line alone. `detect`: how far beyond a limit, in shares, a cell shall show
    with 80% power that it is; then it has as many images as that takes, within `samples`.
    """

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    on_inconclusive: Literal["warn", "fail"] = "warn"
    require_all: bool = False
    require_limits: bool = False
    stop_early: bool = False
    report_only: bool = False
    correction: Literal["holm", "benjamini-hochberg", "benjamini-yekutieli"] = "holm"
    trend_interval: Literal["prediction", "line"] = "prediction"
    detect: Annotated[float, Field(gt=0, lt=1)] | None = None


class Claimed(_Strict):
    """A claim of a paper: what it `says`, where it does, and what would show it: that a limit is kept, or that a figure
    is above 0, in all conditions whose path one of `match` matches."""

    name: str
    says: str
    source: str
    match: tuple[str, ...]
    limit: str = ""
    figure: str = ""

    @model_validator(mode="after")
    def _one(self) -> Claimed:
        if bool(self.limit) == bool(self.figure):
            raise ValueError(f"claim '{self.name}' needs either a limit or a figure")
        if self.limit and self.limit not in limit_names():
            raise ValueError(
                f"claim '{self.name}': limit '{self.limit}' is unknown; {nearest(self.limit, limit_names())}"
            )
        return self


class Profile(_Strict):
    """What a suite starts from: a way to reach verdicts, rules, and claims that are looked at. The suite's rules come
    before equally specific ones, limit by limit."""

    gate: Gate = Gate()
    rules: tuple[Rule, ...] = ()
    claims: tuple[Claimed, ...] = ()


class SuiteFile(_Strict):
    """The schema of a suite's TOML."""

    classes: str = "imagenet"
    clean: str | None = None
    """Which data set is the clean reference; default: imagenet, or with the classes of CIFAR-10 cifar10."""
    candidate: Names = ()
    supervised: Names = ()
    samples: Samples | None = None
    seed: int = 0
    surrogate: str | None = None
    plugins: Names = ()
    """Python files with corruptions and attacks of the user's own; they are run."""
    figures: str | None = None
    """A file of published figures of the user's own, beside those that the package carries."""
    subset: Literal["robustbench-5000"] | None = None
    """The named part of ImageNet's validation set that counts, and of what is made of it."""
    data: dict[str, str]
    clusters: dict[str, str] = {}
    """Data set -> which of its images belong together: `regex:`, `file:` or `column:`, as in `datasets.clusters`."""
    design_effects: dict[str, Annotated[float, Field(ge=1)]] = {}
    """Data set -> how many images that belong together tell as much as one independent one, for `[gate] detect`."""
    groups: dict[str, str] = {}
    """Data set -> which of its images are told apart: `regex:` or `file:`, as in `datasets.groups`."""
    conditions: Conditions
    profile: str | None = None
    gate: Gate | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def clean_set(self) -> str:
        """The name of the clean reference under `[data]`."""
        return self.clean or (CIFAR if self.classes == CIFAR and CIFAR in self.data else CLEAN_SET)

    @model_validator(mode="after")
    def _names(self, info: ValidationInfo) -> SuiteFile:
        if info.context is not ALL_SLIPS:
            for slip in slips(self):
                raise ValueError(slip)
        return self


ALL_SLIPS: Mapping[str, str] = {"slips": "are asked for"}
"""The context of a validation after which `slips` is called."""


def slips(suite: SuiteFile) -> Iterator[str]:
    """A data set of the user's own is named under `[data]` and where it is used: slips in either are seen."""
    used, known = [suite.clean] if suite.clean is not None else [], known_shifts()
    used += [name for name in suite.conditions.natural if name not in known]
    sets = {kind_of(of, name).data for of in ("natural", "adversarial", "synthetic") for name in known_shifts(of)}
    for name in used:
        if name in (*NOT_NATURAL, *sets) and name != suite.clean:
            yield f"'{name}' is no natural shift; {nearest(name, known)}"
        elif name not in suite.data:
            yield f"no data set '{name}' under [data]; {nearest(name, (*suite.data, *known))}"
        elif not _SELECTABLE.fullmatch(name) or "adversarial" in name.lower() or name == CLEAN.name:
            yield (
                f"data set '{name}': names are part of test ids; use letters, digits, '.', '+', '_' and '-', and "
                "neither 'clean' nor the word adversarial, which selects the attacks"
            )
    for what, named in (
        ("clusters", suite.clusters),
        ("groups", suite.groups),
        ("design_effects", suite.design_effects),
    ):
        for name in named:
            if name not in suite.data:
                yield f"{what} of '{name}': there is no such data set under [data]; {nearest(name, suite.data)}"
    for name, rule in suite.clusters.items():
        if fault := clusters.fault_of(rule):
            yield f"clusters of '{name}': {fault}"
    for name, rule in suite.groups.items():
        if fault := groups.fault_of(rule):
            yield f"groups of '{name}': {fault}"
    for name in suite.data:
        if name not in (*DATA_SETS, *sets, *used):
            yield (
                f"data set '{name}' is neither a known one nor named by natural or clean; {nearest(name, DATA_SETS)}"
            )
