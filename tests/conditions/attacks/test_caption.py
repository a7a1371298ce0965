"""Towards a text: how far images are moved, and whether it then fits better than any class."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks.caption import TOWARDS_FIRST, towards_caption
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.context import Context
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Sample
from tests import small


class Brighter(torch.nn.Module):
    """The first logit is the mean of the image, in [0, 1], the others are what they are. Notes what it sees."""

    def __init__(self, *others):
        super().__init__()
        self.others, self.seen = others, []

    def forward(self, images):
        images = 0.25 * images + 0.5
        self.seen.append(float(images.detach()[0, 0, 0, 0]))
        up = images.mean((1, 2, 3))
        return torch.stack([up, *(torch.full_like(up, other) for other in self.others)], 1)


@pytest.mark.parametrize(("best", "fits"), [(0.39, (1, 1)), (0.415, (1, 0)), (0.44, (0, 0))])
def test_images_go_up_the_logit_of_the_text_and_are_asked_before_and_after(best, fits):
    """From 0.4 to 0.4 + 8/255 = 0.431, whatever the other text gets; `best` is the logit of the model's best class."""
    reader, victim = Brighter(7.0), Brighter(best, *[0.0] * 22)
    condition = attack("caption:something", "8/255")
    surrogate, pictures = small.wrapped(reader, "reader"), {}
    surrogate.classes = type(surrogate.classes)("two", ("a", "b"), ("a", "b"))
    context = Context(
        small.wrapped(victim, "victim"), condition, torch.device("cpu"), 4, 0, Kept(0), surrogate, pictures=pictures
    )
    victim.forward = lambda images: torch.tensor([[0.0, best, *[0.0] * 22]]).expand(len(images), -1)
    batch = [(Sample(str(i), Path(str(i)), i), np.full((16, 16, 3), 102, np.uint8)) for i in range(2)]
    (answers,) = towards_caption(context, [batch])
    assert [answer.prediction for _, answer in answers] == [1, 1]
    assert [dict(answer.measures) for _, answer in answers] == [{"caption": fits[0], "caption_when_clean": fits[1]}] * 2
    assert pictures["0"].numpy() == pytest.approx(0.4 + 8 / 255, abs=1e-6)
    steps = [0.4 + min(0.15 * i, 1) * 8 / 255 for i in range(21)]
    assert reader.seen[:21] == pytest.approx(steps, abs=1e-6)
    assert TOWARDS_FIRST.momentum == 1
