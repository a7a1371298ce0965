"""What is asked of a model one batch ahead of what is read."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clip_robustness.conditions.context import Context
from clip_robustness.conditions.scoring import one_behind, top_1
from clip_robustness.datasets.dataset import Sample
from clip_robustness.errors import InputError
from tests.small import wrapped

GREY = 51


def scored(net, *batches, side=16):
    """Grey images, a fifth of white."""
    context = SimpleNamespace(victim=wrapped(net, "it"), device=torch.device("cpu"))
    context.images = lambda batch: Context.images(context, batch)
    pixels = np.full((side, side, 3), GREY, np.uint8)
    return top_1(context, [[(Sample(id, Path(id), 0), pixels) for id in batch] for batch in batches])


def fixed(*logits):
    return torch.nn.Sequential(torch.nn.Flatten(), Fixed(torch.tensor(logits)))


class Fixed(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        assert torch.is_inference_mode_enabled()
        return self.logits.expand(len(images), -1)


def test_how_sure_a_prediction_is_to_four_digits():
    """e^0.5 of e^0.5 + 2."""
    first, second = scored(fixed(0.0, 0, 0.5), "ab", "c")
    assert [sample.id for sample, _ in (*first, *second)] == ["a", "b", "c"]
    assert {prediction.prediction for _, prediction in first} == {2}
    assert {prediction.measures["confidence"] for _, prediction in first} == {0.4519}


def test_what_is_not_finite_has_no_class():
    with pytest.raises(FloatingPointError, match="it: logits are NaN or infinite"):
        list(scored(fixed(0.0, float("nan"), 1), "a"))


def test_images_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"must have the shape \(n, 3, 16, 16\), not \(1, 3, 8, 8\)"):
        list(scored(fixed(0.0, 1), "a", side=8))


def test_a_batch_is_read_when_the_next_is_asked():
    events = []
    asked = (events.append(f"ask {i}") or i for i in range(3))
    for i in one_behind(asked):
        events.append(f"read {i}")
    assert events == ["ask 0", "ask 1", "read 0", "ask 2", "read 1", "read 2"]
    assert list(one_behind([])) == []


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, KeyboardInterrupt])
def test_what_is_asked_before_an_error_is_not_lost(error):
    def asked():
        yield 0
        yield 1
        raise error

    found = []
    with pytest.raises(error):
        found.extend(iter(one_behind(asked())))
    assert found == [0, 1]
