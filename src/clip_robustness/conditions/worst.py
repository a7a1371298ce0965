"""Worst cases: an image counts as right where it is right under all of several conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from clip_robustness.conditions.catalogue import CHANGED, WORST_OF
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, nearest


def worst_of(members: Sequence[Condition]) -> Condition:
    """On the images that all members have: what is done to them is all that they differ in.

    Raises `InputError` where they differ in more, or can't be members.
    """
    ids = [member.id for member in members]
    listed, first = ", ".join(ids), members[0]
    if len(set(ids)) < 2:
        raise InputError(f"worst-of needs two different conditions, not {listed}")
    for member in members:
        if not can_be_member(member) or "+" in member.id or member.kind.zero_shot_only:
            raise InputError(f"worst-of {listed}: '{member.id}' can't be a member; corruptions and attacks can")
        if (member.family, member.data, member.classes_of) != (first.family, first.data, first.classes_of):
            raise InputError(
                f"worst-of {listed}: '{first.id}' and '{member.id}' are not of one family and one data set, so no "
                "image is under both"
            )
    samples = min((member.samples for member in members if member.samples is not None), default=None)
    alike = first.kind.attack is not None and all(member.params == first.params for member in members)
    names = "+".join(member.name for member in members) if alike else "+".join(ids)
    params = (("members", names), *(first.params if alike else ()))
    flat = tuple(each for member in members for each in member.members or (member,))
    return Condition(first.family, WORST_OF, params, samples, flat)


def can_be_member(condition: Condition) -> bool:
    return condition.family in CHANGED and condition.name != WORST_OF and not condition.kind.averages


def worst_cases(names: Sequence[str], conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Over the conditions of a suite that are named: attacks by their names, once at each eps that all of them run at,
    and ids, or patterns of ids with `*`, all of them together.

    Raises `InputError` for a name that no condition has.
    """
    every = [condition for condition in conditions if can_be_member(condition)]
    found = {name: [c for c in every if c.name == name or fnmatchcase(c.id, name)] for name in dict.fromkeys(names)}
    for name, own in found.items():
        if not own:
            known = (each for c in every for each in (c.id, c.name))
            raise InputError(f"worst-of names '{name}', which no condition of the suite is; {nearest(name, known)}")
    if not all(c.kind.attack and c.name == name for name, own in found.items() for c in own):
        yield worst_of(list(dict.fromkeys(c for own in found.values() for c in own)))
        return
    by_eps = [{_ball(c): c for c in own} for own in found.values()]
    common = [ball for ball in by_eps[0] if all(ball in own for own in by_eps)]
    if not common:
        raise InputError(f"worst-of {', '.join(found)}: there is no eps that all of them run at")
    yield from (worst_of([own[ball] for own in by_eps]) for ball in common)


def _ball(condition: Condition) -> tuple[tuple[str, str | int], ...]:
    """The parameters but for the number of queries, which only some attacks have."""
    return tuple((key, value) for key, value in condition.params if key != "pairs")
