import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models import InputError
from shifts.corruptions import corrupt
from suites.conditions import CORRUPTIONS

rng = np.random.default_rng
names = st.sampled_from(CORRUPTIONS)
images = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


@given(images, names, st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None)
def test_shape_type_and_seed(image, name, severity, seed):
    first = corrupt(image, name, severity, rng(seed))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, corrupt(image, name, severity, rng(seed)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_is_further_from_the_clean_image(name):
    image = rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    distance = [np.abs(corrupt(image, name, s, rng(1)).astype(float) - image).mean() for s in range(1, 6)]
    assert distance == sorted(distance)
    assert distance[0] > 1


def test_contrast_by_hand():
    """Mean 0.5, factor 0.4: 0 -> 0.3, 1 -> 0.7; 255 x 0.3 = 76.5, cut to 76."""
    image = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert corrupt(image, "contrast", 1, rng(0)).tolist() == [[[76] * 3, [178] * 3]]


def test_gaussian_noise_has_the_published_scale():
    grey = np.full((200, 200, 3), 127, np.uint8)
    for severity, scale in enumerate((0.08, 0.12), 1):
        noisy = corrupt(grey, "gaussian_noise", severity, rng(0)).astype(float)
        assert noisy.std() / 255 == pytest.approx(scale, rel=0.02)
        assert noisy.mean() == pytest.approx(126.5, abs=0.5)  # cut, not rounded, to whole grey levels


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("contrst", 1), "did you mean 'contrast'"),
        (("contrast", 0), "from 1 to 5"),
        (("contrast", 6), "from 1 to 5"),
    ],
)
def test_bad_requests(args, says):
    with pytest.raises(InputError, match=says):
        corrupt(np.zeros((8, 8, 3), np.uint8), *args, rng(0))


def test_only_pixels_are_taken():
    with pytest.raises(InputError, match="uint8 RGB"):
        corrupt(np.zeros((8, 8, 3), np.float32), "contrast", 1, rng(0))
