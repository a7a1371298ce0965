"""One perturbation for all images: its steps, and which half of the images it is crafted on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness.conditions.attacks import universal
from clip_robustness.conditions.attacks.halves import crafted_on, half_of
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.context import Context
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.errors import InputError
from tests import small


class Darker(torch.nn.Module):
    """Two logits: how much the first is ahead, less as the image becomes brighter. Notes what it sees."""

    def __init__(self, ahead):
        super().__init__()
        self.ahead, self.seen = ahead, []

    def forward(self, images):
        self.seen.append(0.25 * images[:, :, 0, 0].detach() + 0.5)
        up = images.mean((1, 2, 3))
        return torch.stack([torch.full_like(up, self.ahead), up], dim=1)


def seen_by(count, label, ahead=0.0, size=32):
    """What a model sees of images at 0.5, as many a pass as batches have; and what is found, in eps of 0.01."""
    net = Darker(ahead)
    found = universal.universal(
        small.wrapped(net, "darker"), torch.full((count, 3, 16, 16), 0.5), torch.full((count,), label), 0.01,
        np.random.default_rng(0), size,
    )  # fmt: skip
    return net.seen, found / 0.01


@pytest.mark.parametrize(("label", "sign"), [(0, 1), (1, -1)])
def test_ten_passes_of_a_tenth_of_eps_each_away_from_the_label(label, sign):
    seen, found = seen_by(1, label)
    assert [float(x[0, 0] - 0.5) / 0.01 for x in seen] == pytest.approx([sign * i / 10 for i in range(10)], abs=1e-4)
    assert torch.allclose(found, torch.full_like(found, sign), atol=1e-4)


def test_a_step_for_every_thirty_two_images_in_whatever_batches():
    seen, found = seen_by(33, 0, size=20)
    assert [len(x) for x in seen] == [20, 12, 1] * 10
    steps = [float(x[0, 0] - 0.5) / 0.01 for x in seen]
    assert steps[:6] == pytest.approx([0, 0, 0.1, 0.2, 0.2, 0.3], abs=1e-4)
    assert found.max() <= 1 + 1e-6


@pytest.mark.parametrize(("ahead", "moves"), [(8.9, True), (9.1, False)])
def test_images_that_are_lost_by_nine_have_no_say(ahead, moves):
    """The loss of the second class, at 0.5, is hardly more than `ahead`."""
    _, found = seen_by(1, 1, ahead)
    assert bool(found.abs().max() > 0) == moves


def test_it_is_crafted_on_images_of_all_classes_in_both_halves():
    """Of more than it looks at, which are in the order of their classes."""
    samples = tuple(Sample(f"{label:04}/{i}", Path("x"), label) for label in range(200) for i in range(10))
    chosen = crafted_on(Dataset("imagenet", samples), seed=0)
    assert [half_of(sample) for sample in chosen] == [0] * 256 + [1] * 256
    assert len({sample.label for sample in chosen}) == 200
    assert 0.45 < np.mean([half_of(sample) for sample in samples]) < 0.55


def test_each_half_is_moved_by_what_was_crafted_on_the_other(monkeypatch):
    """Which is told by its labels: half 0 is all of class 3, half 1 of class 7, and so is what models see."""
    victim = small.load("cnn")
    monkeypatch.setattr(victim, "forward", lambda x: (seen.append(x.clone()), logits_of(x))[1])
    names = [str(i) for i in range(20)]
    samples = [Sample(name, Path(name), 0) for name in names]
    grey = np.full((16, 16, 3), 102, np.uint8)
    pairs = [(sample, grey) for sample in samples]
    crafted = [(Sample(s.id, s.path, (3, 7)[half_of(s)]), pixels) for s, pixels in pairs]
    seen, asked = [], []

    def logits_of(x):
        return torch.nn.functional.one_hot(torch.zeros(len(x), dtype=torch.int64), 24).float()

    def found(victim, images, labels, eps, rng, size):
        asked.append((len(images), eps, size))
        (label,) = set(labels.tolist())
        return torch.full((3, 16, 16), label / 100)

    monkeypatch.setattr(universal, "universal", found)
    context = Context(victim, attack("universal", "8/255"), torch.device("cpu"), 4, 0, Kept(0), craft_set=[crafted])
    answers = [answer for batch in universal.on_halves(context, [pairs[:9], pairs[9:]]) for answer in batch]
    assert [sample.id for sample, _ in answers] == names
    moved = torch.cat([seen[1], seen[3]])[:, 0, 0, 0]
    assert moved.tolist() == pytest.approx([0.4 + (0.07, 0.03)[half_of(sample)] for sample in samples])
    count = sum(half_of(sample) for sample in samples)
    assert sorted(asked) == sorted([(count, 8 / 255, 4), (20 - count, 8 / 255, 4)])
    context.craft_set = [[pair for pair in crafted if half_of(pair[0]) == 0]]
    with pytest.raises(InputError, match="universal-8/255: needs more images, one half to craft on"):
        list(universal.on_halves(context, [pairs]))
