"""What a suite's TOML and a profile may say; `[conditions]` is in tables.py. Light to import: no torch, no numpy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from clip_robustness.conditions.catalogue import kind_of, known_shifts
from clip_robustness.conditions.condition import CIFAR, CLEAN, DATA_SETS, NOT_NATURAL
from clip_robustness.conditions.kind import CLEAN_SET
from clip_robustness.datasets import clusters, groups
from clip_robustness.errors import nearest
from clip_robustness.suites.rules import Rule, limit_names
from clip_robustness.suites.tables import Conditions, Names, Samples, Strict

_SELECTABLE = re.compile(r"[\w.+-]+", re.ASCII)


class Gate(Strict):
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


class Claimed(Strict):
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


class Profile(Strict):
    """What a suite starts from: a way to reach verdicts, rules, and claims that are looked at. The suite's rules come
    before equally specific ones, limit by limit."""

    gate: Gate = Gate()
    rules: tuple[Rule, ...] = ()
    claims: tuple[Claimed, ...] = ()


class SuiteFile(Strict):
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
    clusters: dict[str, str] = Field({})
    """Data set -> which of its images belong together: `regex:`, `file:` or `column:`, as in `datasets.clusters`."""
    design_effects: dict[str, Annotated[float, Field(ge=1)]] = Field({})
    """Data set -> how many images that belong together tell as much as one independent one, for `[gate] detect`."""
    groups: dict[str, str] = Field({})
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
