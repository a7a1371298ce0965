"""What `[conditions]` of a suite's TOML may say, and what that expands to. Light to import: no torch, no numpy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from clip_robustness.conditions.benchmark import ATTACKS, CORRUPTIONS, CORRUPTIONS_OF_MCE, STYLIZED
from clip_robustness.conditions.catalogue import kind_of
from clip_robustness.conditions.condition import (
    CLEAN,
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
from clip_robustness.conditions.kinds import of_kind
from clip_robustness.conditions.seeds import over_seeds
from clip_robustness.conditions.worst import worst_cases
from clip_robustness.errors import InputError
from clip_robustness.metrics.benchmark import PERTURBATIONS

Samples = Annotated[int, Field(ge=1)]
Seeds = Annotated[int, Field(ge=1, le=100)]
"""Under how many a condition with random parts runs; the first is the run's."""
_listed = BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,))
Names = Annotated[tuple[str, ...], _listed]
"""One needs no list."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corruptions(Strict):
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


class CorruptionSets(Strict):
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


class AnyCorruptions(Strict):
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


class Perturbations(Strict):
    """Which sequences of imagenet-p run, at which difficulties."""

    perturbations: Names = PERTURBATIONS
    difficulties: Annotated[tuple[int, ...], _listed] = (1,)
    samples: Samples | None = None
    seeds: Seeds = 1

    def expand(self, *, on_disk: bool) -> Iterator[Condition]:
        for name in self.perturbations:
            for difficulty in self.difficulties:
                yield over_seeds(perturbation(name, difficulty, on_disk=on_disk, samples=self.samples), self.seeds)


class Stylized(Strict):
    """Which stylized sets run."""

    names: Names = STYLIZED
    samples: Samples | None = None


class Attacks(Strict):
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
                yield over_seeds(_with_file(made, self.file), self.seeds)


def _with_file(condition: Condition, file: str | None) -> Condition:
    """Raises `InputError` where it needs one."""
    if condition.kind.takes_file and not file:
        raise InputError(f"'{condition.name}' needs a file: {{ names = ['{condition.name}'], file = ... }}")
    return condition


class Texts(Strict):
    """In which other words zero-shot models are asked: `file` and `prompts` for names that it has, relative to the
    suite."""

    names: Names
    file: str | None = None
    prompts: str | None = None
    samples: Samples | None = None

    def expand(self) -> Iterator[Condition]:
        for name in self.names:
            yield _with_file(wording(name, self.file, self.samples), self.file)


class Conditions(Strict):
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
