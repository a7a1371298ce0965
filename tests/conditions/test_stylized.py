"""Style transfer without a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_robustness.conditions.stylized import painting, repainted, stylize
from clip_robustness.mini.sets import picture
from clip_robustness.models import InputError

rng = np.random.default_rng


@settings(max_examples=6)
@given(st.integers(32, 70), st.integers(32, 70), st.integers(0, 2**32))
def test_any_size_stays_and_the_seed_decides(height, width, seed):
    image = rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    painted = stylize(image, rng(seed))
    assert (painted.shape, painted.dtype) == (image.shape, np.uint8)
    assert np.array_equal(painted, stylize(image, rng(seed)))
    assert not np.array_equal(painted, stylize(image, rng(seed + 1)))


def neighbours(pixels):
    """Histogram of the differences of neighbouring pixels: what texture is, in the smallest sense."""
    differences = np.diff(pixels.astype(float).mean(axis=2), axis=1)
    return np.histogram(differences, 64, (-128, 128))[0] / differences.size


def test_colours_and_texture_are_the_paintings_and_the_layout_is_the_pictures():
    for i in range(6):
        photo, _ = picture("imagenet", i)
        style = painting(rng(i), 64)
        painted = repainted(photo, style, rng(i))
        assert np.abs(painted.mean((0, 1)) - style.mean((0, 1))).max() < 12
        after, before = (np.abs(neighbours(pixels) - neighbours(style)).sum() for pixels in (painted, photo))
        assert after < 0.75 * before
        blocks = [p.astype(float).mean(axis=2).reshape(8, 8, 8, 8).mean((1, 3)).ravel() for p in (painted, photo)]
        assert np.corrcoef(*blocks)[0, 1] > 0.3


def test_small_images_are_refused():
    with pytest.raises(InputError, match="31 x 40 px is too small"):
        stylize(np.zeros((40, 31, 3), np.uint8), rng(0))
