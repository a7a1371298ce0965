"""Which worst cases a suite has, and what they are called."""

import pytest

from clip_robustness.conditions.condition import attack, corruption, mean_corruption, natural, stylized
from clip_robustness.conditions.ids import condition_of
from clip_robustness.conditions.worst import worst_cases, worst_of
from clip_robustness.errors import InputError

ATTACKS = [attack(name, eps) for name in ("bim", "apgd-t", "nes") for eps in ("4/255", "8/255")]
EVERY = [
    natural("night"),
    *(corruption("fog", s) for s in (1, 2)),
    mean_corruption(),
    *ATTACKS,
    attack("square", "8/255"),
]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["bim", "apgd-t"], ["worst-of-bim+apgd-t-4/255", "worst-of-bim+apgd-t-8/255"]),
        (["bim", "square"], ["worst-of-bim+square-8/255"]),
        (["bim-*", "square"], ["worst-of-bim-4/255+bim-8/255+square-8/255"]),
        (["imagenet-c-fog-*"], ["worst-of-imagenet-c-fog-1+imagenet-c-fog-2"]),
    ],
)
def test_attacks_are_joined_eps_by_eps_and_ids_all_together(names, ids):
    found = [*worst_cases(names, EVERY)]
    assert [condition.id for condition in found] == ids
    for condition in found:
        assert condition_of(condition.id) == condition
        assert condition_of(condition.id).members == condition.members
        assert condition.data == "imagenet"


def test_it_has_the_images_that_all_members_have():
    few, some = attack("bim", "8/255", samples=24), attack("square", "8/255", samples=48)
    assert worst_of([some, few, attack("mim", "8/255")]).samples == 24
    assert worst_of([attack("nes", "8/255", pairs=20), few]).id == "worst-of-nes-8/255-20pairs+bim-8/255"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["bim", "sqare"], "names 'sqare', which no condition of the suite is; did you mean 'square'"),
        (["bim-8/255"], "needs two different conditions"),
        (["bim-8/255", "imagenet-c-fog-1"], "not of one family and one data set"),
        (["imagenet-c-mce", "bim"], "names 'imagenet-c-mce', which no condition"),
        (["bim-4/255", "caption:a dog"], "'caption:a-dog-8/255' can't be a member"),
    ],
)
def test_what_is_no_worst_case(names, says):
    with pytest.raises(InputError, match=says):
        [*worst_cases(names, [*EVERY, attack("caption:a dog", "8/255"), stylized("stylized-imagenet")])]


def test_attacks_without_a_common_eps():
    with pytest.raises(InputError, match="there is no eps that all of them run at"):
        [*worst_cases(["bim", "square"], [attack("bim", "4/255"), attack("square", "8/255")])]
