from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom

from clip_robustness.conditions.benchmark import PERTURBATIONS
from clip_robustness.conditions.perturbations import perturb
from clip_robustness.datasets.mp4 import read_video, write_video
from clip_robustness.metrics.benchmark import NOISE_SEQUENCES
from clip_robustness.models import InputError
from tests import DATA

rng = np.random.default_rng


@pytest.fixture(scope="module")
def photo():
    return np.load(DATA / "corruption_references.npz")["image_0"]


def distance(a, b):
    return np.abs(a.astype(float) - b).mean()


@given(
    st.tuples(st.integers(40, 70), st.integers(40, 70)),
    st.sampled_from(PERTURBATIONS),
    st.integers(1, 3),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_shape_type_and_seed(shape, name, difficulty, seed):
    image = rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    frames = perturb(image, name, rng(seed), difficulty=difficulty)
    side = min(shape) * 7 // 8
    assert frames.shape == (41 if name == "translate" else 31, side, side, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, perturb(image, name, rng(seed), difficulty=difficulty))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_neighbouring_frames_are_more_alike_than_distant_ones(photo, name):
    frames = perturb(photo, name, rng(0))
    near = np.mean([distance(a, b) for a, b in pairwise(frames)])
    far = np.mean([distance(a, b) for a, b in zip(frames, frames[15:], strict=False)])
    assert near > 0
    if name in NOISE_SEQUENCES:
        assert far == pytest.approx(near, rel=0.1)  # noise has no order
    else:
        assert far > 2 * near


@pytest.mark.parametrize("name", NOISE_SEQUENCES)
def test_noise_starts_clean_and_grows_with_difficulty(photo, name):
    clean = perturb(photo, "brightness", rng(0))[15]
    strength = []
    for difficulty in (1, 2, 3):
        frames = perturb(photo, name, rng(0), difficulty=difficulty)
        assert np.array_equal(frames[0], clean)
        strength.append(distance(frames[1:], clean))
    assert strength == sorted(strength)
    assert strength[0] > 1


def test_the_middle_of_a_sequence_is_the_clean_centre(photo):
    """Brightness +-0, rotation by 0 degrees, translation by 0 px, scale 1, zoom by nothing."""
    clean = photo[3:45, 11:53]
    for name, index in {
        "brightness": 15,
        "rotate": 15,
        "translate": 20,
        "scale": 24,
        "zoom_blur": 0,
    }.items():
        assert np.abs(perturb(photo, name, rng(0))[index].astype(int) - clean).max() <= 1, name


def test_frames_by_hand():
    """A white pixel in a black image: where it goes."""

    def brightest(name, index, at=(50, 40)):
        image = np.zeros((101, 101, 3), np.uint8)
        image[at] = 255
        return np.unravel_index(perturb(image, name, rng(0), side=101)[index][..., 0].argmax(), (101, 101))

    assert brightest("translate", 0) == (50, 20)  # 20 px to the left
    assert brightest("translate", 40) == (50, 60)
    assert brightest("rotate", 30) == (47, 40)  # 15 degrees clockwise: 10 sin 15 = 2.6 px up, 10 cos 15 = 9.7 px left
    assert brightest("scale", 4) == (50, 45)  # half the size: half as far from the middle
    # 40.5 px left of and above the middle; turned by 15 degrees about both axes 39.4 and 36.7 px, and 19.7 px nearer to
    # an eye that is 142.8 px away: 142.8 / 123.2 times as far, 45.7 and 42.5 px
    assert brightest("tilt", 30, at=(10, 10)) == (8, 5)


def test_brightness_by_hand():
    """Grey 128 -+ 0.3: 128 - 76.5 = 51.5 and 128 + 76.5 = 204.5, cut."""
    frames = perturb(np.full((48, 48, 3), 128, np.uint8), "brightness", rng(0))
    assert [int(frames[i, 0, 0, 0]) for i in (0, 15, 30)] == [51, 128, 204]


def test_noise_is_as_strong_as_published():
    """On grey: normal noise of 0.03, 0.05, 0.08; photons, 300, 120, 60 of a white pixel, so sqrt(128 / 255 / full)."""
    grey = np.full((160, 160, 3), 128, np.uint8)
    for difficulty, scale, full in ((1, 0.03, 300), (2, 0.05, 120), (3, 0.08, 60)):
        found = perturb(grey, "gaussian_noise", rng(0), difficulty=difficulty)[1:].std() / 255
        assert found == pytest.approx(scale, rel=0.004)
        found = perturb(grey, "shot_noise", rng(0), difficulty=difficulty)[1:].std() / 255
        assert found == pytest.approx(np.sqrt(128 / 255 / full), rel=0.004)


def test_motion_and_snow_fall_as_published(monkeypatch):
    """Motion: radius 10, sigma 3, 4 degrees a frame up to 0; snow: radius 14, sigma 4, from -150 degrees on."""
    seen = []

    def record(values, radius, sigma, degrees):
        seen.append((radius, sigma, degrees))
        return values

    monkeypatch.setattr("clip_robustness.conditions.perturbations.move", record)
    monkeypatch.setattr("clip_robustness.conditions.corruptions.weather.move", record)
    perturb(np.zeros((40, 40, 3), np.uint8), "motion_blur", rng(0))
    assert seen == [(10, 3, (i - 30) * 4) for i in range(31)]
    seen.clear()
    perturb(np.zeros((40, 40, 3), np.uint8), "snow", rng(0))
    assert seen == [(14, 4, i * 4 - 150) for i in range(31)]


def test_snow_is_as_thick_as_published():
    """On black: 0.15 x 0.5 between flakes, which are normal noise of 0.05 +- 0.3, enlarged three times, from 0.5 on;
    they fall as they are and turned around."""
    frames = perturb(np.zeros((192, 192, 3), np.uint8), "snow", rng(0), side=192)
    assert np.median(frames) == round(255 * 0.15 * 0.5)
    drawn = 0.05 + 0.3 * rng(1).standard_normal((400, 400))
    flakes = zoom(drawn, 3, order=1)
    flakes = np.where(flakes < 0.5, 0, flakes.clip(0, 1))
    assert (frames / 255).mean() == pytest.approx(0.075 + 2 * flakes.mean(), rel=0.05)


def test_bad_requests(photo):
    with pytest.raises(InputError, match="did you mean 'rotate'"):
        perturb(photo, "rotat", rng(0))
    with pytest.raises(InputError, match="difficulty 4 does not exist"):
        perturb(photo, "rotate", rng(0), difficulty=4)
    with pytest.raises(InputError, match="frames of 49 px don't fit into an image of 48 px"):
        perturb(photo, "rotate", rng(0), side=49)


def test_frames_come_back_from_an_mp4(photo, tmp_path):
    frames = perturb(photo, "brightness", rng(0))
    write_video(tmp_path / "a.mp4", frames)
    read = read_video(tmp_path / "a.mp4")
    assert read.shape == frames.shape
    assert read.dtype == np.uint8
    assert all(distance(a, b) < 8 for a, b in zip(read, frames, strict=True))  # colour at half the resolution


def test_the_same_frames_are_the_same_mp4(tmp_path):
    """Noise on a drawn picture is what the encoder made another file of each time."""
    picture = np.full((64, 64, 3), 128.0)
    picture[16:48, 16:48] = [200, 40, 60]
    frames = np.clip(rng(0).normal(picture, 20, (31, *picture.shape)), 0, 255).astype(np.uint8)
    for i in range(20):
        write_video(tmp_path / f"{i}.mp4", frames)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("content", [None, b"", b"no video" * 100])
def test_a_broken_mp4(tmp_path, content):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(OSError, match=r"a\.mp4 is not a video that can be decoded"):
        read_video(tmp_path / "a.mp4")
