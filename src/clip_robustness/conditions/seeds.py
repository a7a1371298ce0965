"""A condition with random parts under several seeds."""

from __future__ import annotations

from dataclasses import replace

from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError


def over_seeds(condition: Condition, seeds: int) -> Condition:
    """Whose outcomes are those of all seeds, each image under each; the first seed is the condition itself.

    Raises `InputError` for what draws nothing, or nothing by the image.
    """
    if seeds == 1:
        return condition
    kind = condition.kind
    if kind.craft_set:
        raise InputError(f"seeds: '{condition.id}' crafts one perturbation for all images; run it under suites' seeds")
    if not (kind.draws_by or kind.attack):
        raise InputError(f"seeds: '{condition.id}' draws nothing at random; give what does a table of its own")
    members = (condition, *(with_seed(condition, seed) for seed in range(1, seeds)))
    return replace(condition, params=(*condition.params, ("seeds", f"{seeds}seeds")), members=members)


def with_seed(condition: Condition, seed: int) -> Condition:
    """With the random numbers of another seed than the run's, from 1."""
    return replace(condition, params=(*condition.params, ("seed", f"seed{seed}")))
