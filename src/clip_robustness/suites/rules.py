"""Rules: the limits that a suite and its profile set, and which of them decide a condition, limit by limit."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clip_robustness.conditions.condition import SEARCH, Condition
from clip_robustness.errors import InputError, nearest

Share = Annotated[float, Field(ge=0, le=1)]


class Rule(BaseModel):
    """What is asserted of the conditions whose `family/id` matches `match` (a glob).

    Limits are shares, 0.05 is five points, but for `min_median_eps`, which is in units of 1/255. Of the rules that set
    a limit the most specific one decides it; `off` names limits of less specific rules that do not count here.
    `known_weakness` gives the reason why the limits of this rule, and of no other, are expected to fail: the test is
    then a strict xfail.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    min_accuracy: Share | None = None
    max_drop_vs_supervised: Share | None = None
    min_drop_vs_supervised: Share | None = None
    """That the candidate is worse: no requirement, but a claim to check."""
    max_drop_vs_clean: Share | None = None
    min_effective_robustness: Annotated[float, Field(ge=-1, le=1)] | None = None
    max_mce: Annotated[float, Field(ge=0, le=3)] | None = None
    """Relative to AlexNet's 1, not percent."""
    max_flip_rate: Share | None = None
    min_median_eps: Annotated[float, Field(ge=0, le=255)] | None = None
    max_regression: Share | None = None
    off: tuple[str, ...] = ()
    known_weakness: str | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Name -> value of those that are set."""
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def specificity(self) -> int:
        """Characters of `match` that are no wildcards."""
        return len(re.sub(r"\[.*?\]|[*?]", "", self.match))

    def matches(self, condition: Condition) -> bool:
        """Overlap cells are judged by the rules of what they compare with."""
        return fnmatch.fnmatchcase(condition.compared.path, self.match)

    @field_validator("off")
    @classmethod
    def _known(cls, off: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in off if name not in LIMITS]:
            raise ValueError(f"limit '{unknown[0]}' is unknown; {nearest(unknown[0], LIMITS)}")
        return off

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if self.known_weakness is not None and not self.limits:
            raise ValueError(f"known_weakness needs a limit, {', '.join(LIMITS)}: what is expected to fail?")
        if both := [name for name in self.off if name in self.limits]:
            raise ValueError(f"rule '{self.match}' sets {both[0]} and switches it off")
        return self


LIMITS = tuple(name for name in Rule.model_fields if name.startswith(("min_", "max_")))
_ONLY_FOR: dict[str, Callable[[Condition], bool]] = {
    "min_effective_robustness": lambda condition: condition.family == "natural",
    "max_mce": lambda condition: bool(condition.averaged),
    "max_flip_rate": lambda condition: condition.is_sequence,
    "min_median_eps": lambda condition: dict(condition.params).get("eps") == SEARCH,
}
"""Limits -> the conditions that have such a figure."""


@dataclass(frozen=True)
class Limit:
    """What decides a condition: a limit, and the most specific rule that sets it or switches it off. `over` are the
    rules that this one comes before."""

    name: str
    rule: Rule
    over: tuple[Rule, ...] = ()

    @property
    def off(self) -> bool:
        return self.name in self.rule.off

    @property
    def value(self) -> float:
        """Raises `KeyError` for one that is off."""
        return self.rule.limits[self.name]

    @property
    def weak(self) -> bool:
        """Whether it is expected to fail."""
        return self.rule.known_weakness is not None and not self.off


def deciding(rules: Iterable[Rule], condition: Condition) -> list[Limit]:
    """The limits under a condition that can be checked there, those that are off among them. Of rules that are equally
    specific the first decides."""
    matching = sorted((rule for rule in rules if rule.matches(condition)), key=lambda rule: -rule.specificity)
    named = [(rule, {*rule.limits, *rule.off}) for rule in matching]
    found = []
    for name in LIMITS:
        setting = tuple(rule for rule, names in named if name in names)
        if setting and name not in _inapplicable(condition.compared):
            found.append(Limit(name, setting[0], setting[1:]))
    return found


def _inapplicable(condition: Condition) -> set[str]:
    """The clean images are not compared with themselves, nor zero-shot models with supervised ones where these can't be
    asked."""
    names = set()
    if condition.family == "clean":
        names |= {"max_drop_vs_clean"}
    if condition.averaged:
        names |= set(LIMITS) - {"max_mce"}
    if condition.zero_shot_only:
        names |= {"max_drop_vs_supervised", "min_drop_vs_supervised"}
    return names


def check(own: Sequence[Rule], profile: Sequence[Rule], conditions: Sequence[Condition]) -> None:
    """Raises `InputError` where two rules contradict each other, or one limits what a condition does not have."""
    for condition in conditions:
        limits = {limit.name: limit for limit in deciding([*own, *profile], condition)}
        for name, limit in limits.items():
            first, place = limit.rule, own if limit.rule in own else profile
            for other in limit.over:
                if other.specificity == first.specificity and other != first and other in place:
                    raise InputError(
                        f"rules '{first.match}' and '{other.match}' contradict each other in {name} for "
                        f"'{condition.path}': they are equally specific; make one of them longer, or drop it"
                    )
            if not limit.off and name in _ONLY_FOR and not _ONLY_FOR[name](condition):
                having = [c.path for c in conditions if _ONLY_FOR[name](c)]
                raise InputError(
                    f"rule '{first.match}' sets {name}, which '{condition.path}' does not have; "
                    + (f"match such as {having[0]!r} alone" if having else "no condition of the suite does")
                )
        least, most = (limits.get(f"{bound}_drop_vs_supervised") for bound in ("min", "max"))
        if least and most and not least.off and not most.off and least.value > most.value:
            raise InputError(
                f"rules '{least.rule.match}' and '{most.rule.match}' contradict each other for '{condition.path}': no "
                f"drop is at least {least.value} and at most {most.value}"
            )
