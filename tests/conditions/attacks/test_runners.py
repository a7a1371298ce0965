"""Which methods attacked cells are computed with."""

import numpy as np
import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.attacks.gradient import BIM
from clip_robustness.conditions.attacks.runners import in_loop
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.context import Context
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Sample
from tests import ROOT, small


class Started(Exception):  # noqa: N818
    """With the method that an attack is run by."""


def start(victim, method, tasks, size):
    raise Started(method)


@pytest.mark.parametrize(("name", "steps"), [("nes", 20), ("spsa", 20), ("bim", BIM.steps(2 / 255))])
def test_a_search_gives_score_based_attacks_twenty_steps_and_others_their_own(monkeypatch, name, steps):
    monkeypatch.setattr(in_loop, "run_in_order", start)
    victim = models.load("mini:supervised", small.MINI)
    images = [(Sample("a", ROOT / "a.png", 0), np.zeros((victim.image_size, victim.image_size, 3), np.uint8))]
    context = Context(victim, attack(name, "min"), torch.device("cpu"), 4, 0, Kept(0))
    with pytest.raises(Started) as started:
        list(in_loop.search(context, [images]))
    assert started.value.args[0].steps(2 / 255) == steps
