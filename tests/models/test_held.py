import pytest
from torch import nn

from clip_robustness.models.held import Held

EACH = 4 * 100
"""Bytes of a model."""


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def get(fetched):
    """Ask for models as a task does, which needs all of them."""

    def ask(held, task):
        def fetch(key):
            fetched.append(key)
            return nn.Linear(100, 1, bias=False)

        return [held.get(key, lambda key=key: fetch(key), task) for key in task]

    return ask


def test_each_model_of_many_is_fetched_once_where_there_is_room(get, fetched):
    held = Held(20 * EACH)
    first, second = get(held, range(20)), get(held, range(20))
    assert all(map(lambda one, other: one is other, first, second))
    assert len(fetched) == 20


def test_of_more_models_than_fit_some_are_always_there(get, fetched):
    held = Held(8 * EACH)
    for _ in range(3):
        get(held, range(10))
    assert len(fetched) == 10 + 2 + 2


def test_models_of_other_tasks_give_way_the_oldest_first(get, fetched):
    held = Held(3 * EACH)
    get(held, ["a", "b", "c"])
    get(held, ["d"])
    get(held, ["b", "c", "d"])
    assert fetched == ["a", "b", "c", "d"]


def test_a_model_larger_than_the_budget_is_given_and_not_held(get, fetched):
    held = Held(EACH - 1)
    get(held, ["a"])
    get(held, ["a"])
    assert fetched == ["a", "a"]
