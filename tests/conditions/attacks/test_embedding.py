"""Attacks past the head: on the image embedding, and on the heads of single templates."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks import embedding
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.context import Context
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.models.worded import Worded
from tests import small

CPU = torch.device("cpu")


class Reader(Worded):
    """Its embedding turns in the plane as an image becomes brighter. Notes what it sees; its heads are other models."""

    def __init__(self, heads=()):
        torch.nn.Module.__init__(self)
        self.seen, self.models, self.names, self.used = [], heads, tuple(map(str, range(len(heads)))), []

    def embed(self, images):
        self.seen.append(images.detach().clone())
        angle = images.mean((1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], 1)

    def in_fp32(self):
        return self

    def under(self, wording):
        self.used.append(wording)
        return self.models[wording]


@pytest.mark.parametrize("sign", [1, -1])
def test_steps_of_a_share_of_eps_turn_the_embedding_away_from_the_clean_one(sign):
    """The embedding of the clean image, then twenty steps of 0.15 eps to whichever side it started on."""
    reader, images = Reader(), torch.full((2, 3, 4, 4), 0.5)
    moved = embedding.away(reader, images, torch.full_like(images, sign * 0.001), 0.04)
    path = [float(x[0, 0, 0, 0] - 0.5) * sign for x in reader.seen]
    assert path == pytest.approx([0, *(min(0.001 + 0.15 * 0.04 * i, 0.04) for i in range(20))], abs=1e-6)
    assert torch.allclose(moved, images + sign * 0.04)
    assert not moved.requires_grad


def test_it_stays_in_the_range_of_pixels():
    reader, images = Reader(), torch.full((1, 3, 4, 4), 0.99)
    moved = embedding.away(reader, images, torch.full_like(images, 0.03), 0.04)
    assert reader.seen[1].max() == moved.max() == 1


def context_of(name, reader, victim, pictures):
    return Context(victim, attack(name, "8/255"), CPU, 8, 3, Kept(0), surrogate=reader, pictures=pictures)


def batch_of(labels):
    pixels = np.full((len(labels), 16, 16, 3), 102, np.uint8)
    return [(Sample(str(i), Path(str(i)), label), pixels[i]) for i, label in enumerate(labels)]


def always(label):
    """A model that knows one class, whatever it sees: a gradient leads up, and is of no use."""

    class Constant(torch.nn.Module):
        def forward(self, images):
            up = images.mean((1, 2, 3))
            return torch.stack([up / 10 + 10 * (i == label) for i in range(24)], 1)

    return small.wrapped(Constant(), "constant")


def test_it_starts_anywhere_in_the_ball_by_the_images_own_numbers():
    reader, pictures = Reader(), {}
    context = context_of("embedding", reader, always(0), pictures)
    ((first, second, third),) = embedding.on_embedding(context, [batch_of([0, 5, 0])])
    assert [answer.prediction for _, answer in (first, second, third)] == [0, 0, 0]
    assert set(pictures) == {"0", "2"}  # what is wrong when clean is not attacked
    start = reader.seen[1] - reader.seen[0]
    for row, name in enumerate("02"):
        drawn = image_rng(3, context.condition.random_name, name).uniform(-8 / 255, 8 / 255, (3, 16, 16))
        assert torch.allclose(start[row], torch.from_numpy(drawn).float(), atol=1e-6)


class Bright(torch.nn.Module):
    """The first class up to a brightness in [0, 1], then the second."""

    def __init__(self, limit):
        super().__init__()
        self.limit = (limit - 0.5) / 0.25

    def forward(self, images):
        up = images.mean((1, 2, 3)) - self.limit
        return torch.stack([-up, up, *[torch.full_like(up, -9)] * 22], 1)


def test_five_heads_evenly_among_all_are_tried_until_one_fools_the_whole_model():
    """Of nine the seventh leads up, the others nowhere: the ninth is not asked any more."""
    heads_seen, pictures = [], {}
    heads = [small.wrapped(Still(heads_seen, i), "still") for i in range(9)]
    heads[6] = small.wrapped(Bright(0.9), "bright")
    reader, victim = Reader(heads), small.wrapped(Bright(0.425), "victim")  # images are at 0.4, up to 0.431
    context = context_of("template-heads", reader, victim, pictures)
    (answers,) = embedding.on_heads(context, [batch_of([0, 1])])
    assert reader.used == [0, 2, 4, 6, 8]
    assert [answer.prediction for _, answer in answers] == [1, 0]
    assert set(heads_seen) == {0, 2, 4}
    assert pictures["0"].mean() == pytest.approx(0.4 + 8 / 255, abs=1e-5)
    assert set(pictures) == {"0"}


class Still(torch.nn.Module):
    """Its gradient is 0. Notes that it was asked."""

    def __init__(self, seen, number):
        super().__init__()
        self.seen, self.number = seen, number

    def forward(self, images):
        self.seen.append(self.number)
        return torch.nn.functional.one_hot(torch.zeros(len(images), dtype=torch.int64), 24) + 0 * images[:, 0, 0, :1]


def test_without_one_that_fools_all_five_are_tried():
    seen = []
    reader, pictures = Reader([small.wrapped(Still(seen, i), "still") for i in range(3)]), {}
    (answers,) = embedding.on_heads(context_of("template-heads", reader, always(0), pictures), [batch_of([0])])
    assert reader.used == [0, 1, 2]
    assert [answer.prediction for _, answer in answers] == [0]
    assert seen == [i for i in range(3) for _ in range(21)]
