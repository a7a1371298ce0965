"""Conditions under several seeds: what they are called and made of, and which there are."""

import pytest

from clip_robustness.conditions.condition import attack, averaged_by, corruption, mean_corruption, natural
from clip_robustness.conditions.ids import condition_of
from clip_robustness.conditions.seeds import over_seeds, with_seed
from clip_robustness.conditions.worst import worst_cases
from clip_robustness.errors import InputError

FOG, NES = corruption("fog", 3), attack("nes", "8/255", pairs=20)


@pytest.mark.parametrize("condition", [FOG, NES, attack("pgd", "4/255")])
def test_the_first_seed_is_the_condition_itself(condition):
    several = over_seeds(condition, 3)
    assert several.id == f"{condition.id}-3seeds"
    assert several.members == (condition, with_seed(condition, 1), with_seed(condition, 2))
    assert len({member.random_name for member in several.members}) == 3
    assert over_seeds(condition, 1) == condition
    for each in (several, *several.members):
        assert condition_of(each.id) == each
        assert condition_of(each.id).members == each.members
        assert (each.data, each.eps, each.kind) == (condition.data, condition.eps, condition.kind)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (natural("imagenet-v2"), "'imagenet-v2' draws nothing at random"),
        (corruption("fog", 1, on_disk=True), "'imagenet-c-disk-fog-1' draws nothing at random"),
        (attack("universal", "4/255"), "'universal-4/255' crafts one perturbation for all images"),
    ],
)
def test_what_has_no_seeds_of_images(condition, says):
    with pytest.raises(InputError, match=says):
        over_seeds(condition, 2)


@pytest.mark.parametrize(("condition", "computations"), [(FOG, 3), (NES, 3), (attack("bim", "8/255"), 1)])
def test_what_draws_nothing_is_computed_once(condition, computations):
    assert len({member.computation for member in over_seeds(condition, 3).members}) == computations


def test_a_mean_over_cells_is_that_of_the_first_seed_and_a_worst_case_that_of_all():
    assert averaged_by(mean_corruption(), [over_seeds(FOG, 3)]) == [FOG]
    (worst,) = worst_cases(["nes-*", "bim-*"], [over_seeds(NES, 2), attack("bim", "8/255")])
    assert worst.members == (NES, with_seed(NES, 1), attack("bim", "8/255"))
    assert condition_of(worst.id).members == worst.members
