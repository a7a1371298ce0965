"""What corruptions of plugins promise, and each way to break it."""

import numpy as np
import pytest

from clip_robustness.conditions.corruptions.promises import check_corruption
from clip_robustness.errors import InputError


def in_place(image, severity, rng):
    image += 1
    return image


def failing(image, severity, rng):
    raise InputError("a sentence of its own")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda image, severity, rng: image / 255, "returns float64 (64, 64, 3)"),
        (lambda image, severity, rng: image[:32], "returns uint8 (32, 64, 3)"),
        (lambda image, severity, rng: None, "returns NoneType"),
        (lambda image, severity, rng: image[severity], "returns uint8 (64, 3)"),
        (
            lambda image, severity, rng: image ^ np.random.default_rng().integers(9, dtype=np.uint8),
            "from call to call",
        ),
        (lambda image, severity: image, "severity 1: TypeError"),
        (in_place, "changes the image that it is given"),
        (failing, "a sentence of its own"),
    ],
)
def test_corruptions_that_break_their_promise(function, says):
    with pytest.raises(InputError) as error:
        check_corruption(function)
    assert says in str(error.value)


def test_it_is_tried_on_noise_and_on_a_slope_twice_at_each_severity():
    seen = []

    def watching(image, severity, rng):
        seen.append((image.copy(), severity, rng.random()))
        return image

    check_corruption(watching)
    assert [severity for _, severity, _ in seen] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5] * 2
    assert len({drawn for *_, drawn in seen}) == 1
    noise, slope = seen[0][0], seen[-1][0]
    assert noise.shape == slope.shape == (64, 64, 3)
    assert {0, 255} <= set(noise.ravel().tolist())
    assert slope[:, 0, 0].tolist() == [i * 255 // 63 for i in range(64)]
    assert (slope == slope[:, :1, :1]).all()
