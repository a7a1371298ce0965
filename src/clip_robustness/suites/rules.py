"""Rules: the limits that a suite and its profile set, and which of them decide a condition, limit by limit."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from clip_robustness import registry
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, nearest


class Rule(BaseModel):
    """What is asserted of the conditions whose `family/id` matches `match` (a glob), by limits that are registered.

    Of the rules that set a limit the most specific one decides it; `off` names limits of less specific rules that do
    not count here. `known_weakness` gives the reason why the limits of this rule, and of no other, are expected to
    fail: the test is then a strict xfail.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    match: str
    off: tuple[str, ...] = ()
    known_weakness: str | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Name -> value of those that are set."""
        given = self.model_extra or {}
        return {name: given[name] for name in limit_names() if name in given}

    @property
    def specificity(self) -> int:
        """Characters of `match` that are no wildcards."""
        return len(re.sub(r"\[.*?\]|[*?]", "", self.match))

    def matches(self, condition: Condition) -> bool:
        """Overlap cells are judged by the rules of what they compare with."""
        return fnmatch.fnmatchcase(condition.compared.path, self.match)

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, given: Any) -> Any:
        """That what is no field is a limit in its range."""
        if not isinstance(given, dict):
            return given
        limits = {key: value for key, value in given.items() if key not in cls.model_fields}
        return given | _schema(tuple(map(_range, limit_names()))).model_validate(limits).model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if unknown := [name for name in self.off if name not in limit_names()]:
            raise ValueError(f"limit '{unknown[0]}' is unknown; {nearest(unknown[0], limit_names())}")
        if self.known_weakness is not None and not self.limits:
            raise ValueError(f"known_weakness needs a limit, {', '.join(limit_names())}: what is expected to fail?")
        if both := [name for name in self.off if name in self.limits]:
            raise ValueError(f"rule '{self.match}' sets {both[0]} and switches it off")
        return self


def limit_names() -> list[str]:
    """Ours first, in their order."""
    ours = [found.name for found in registry.ours("limit")]
    return [*ours, *(name for name in registry.names("limit") if name not in ours)]


def _range(name: str) -> tuple[str, float | None, float | None]:
    given = registry.find("limit", name).options
    return name, given.get("low"), given.get("high")


@cache
def _schema(ranges: tuple[tuple[str, float | None, float | None], ...]) -> type[BaseModel]:
    """Of limits and their values, none of them required."""
    fields: dict[str, Any] = {name: (Annotated[float, Field(ge=low, le=high)], 0.0) for name, low, high in ranges}
    return create_model("Limits", __config__=ConfigDict(extra="forbid"), **fields)


def _only_for(name: str, condition: Condition) -> bool:
    only = registry.find("limit", name).options.get("only_for")
    return not only or condition.says(only)


def _applies(name: str, condition: Condition) -> bool:
    """The clean images are not compared with themselves, nor zero-shot models with supervised ones where these can't be
    asked."""
    return not any(map(condition.says, registry.find("limit", name).options.get("not_for", ("averages",))))


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
    for name in limit_names():
        setting = tuple(rule for rule, names in named if name in names)
        if setting and _applies(name, condition.compared):
            found.append(Limit(name, setting[0], setting[1:]))
    return found


def check(
    own: Sequence[Rule], profile: Sequence[Rule], conditions: Sequence[Condition], whose: Callable[[Rule], str]
) -> None:
    """Raises `InputError` where two rules contradict each other, or one limits what a condition does not have. `whose`
    says what to call a rule."""
    for condition in conditions:
        limits = {limit.name: limit for limit in deciding([*own, *profile], condition)}
        for name, limit in limits.items():
            first, place = limit.rule, own if limit.rule in own else profile
            for other in limit.over:
                if other.specificity == first.specificity and other != first and other in place:
                    raise InputError(
                        f"{whose(first)} and {whose(other)} contradict each other in {name} for '{condition.path}': "
                        "they are equally specific; make one of them longer, or drop it"
                    )
            if not limit.off and not _only_for(name, condition):
                having = [c.path for c in conditions if _only_for(name, c)]
                raise InputError(
                    f"{whose(first)} sets {name}, which '{condition.path}' does not have; "
                    + (f"match such as {having[0]!r} alone" if having else "no condition of the suite does")
                )
        least, most = (limits.get(f"{bound}_drop_vs_supervised") for bound in ("min", "max"))
        if least and most and not least.off and not most.off and least.value > most.value:
            raise InputError(
                f"{whose(least.rule)} and {whose(most.rule)} contradict each other for '{condition.path}': no drop is "
                f"at least {least.value} and at most {most.value}"
            )
