from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

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


def turned(x, y, middle, degrees, scale):
    """Where the pixels of a frame come from that is turned clockwise about the middle and enlarged."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    dx, dy = (x - middle[0]) / scale, (y - middle[1]) / scale
    return middle[0] + c * dx + s * dy, middle[1] - s * dx + c * dy


def tilted(x, y, size, degrees):
    """Where rays through the pixels of a frame, from an eye as far away as the diagonal is long, meet the picture plane
    that is turned about both axes, one pixel behind them."""
    far, (width, height) = np.hypot(*size), size
    back = Rotation.from_euler("yx", [-degrees, degrees], degrees=True).inv()
    rays = back.apply(np.stack([(x - width / 2) / far, (y - height / 2) / far, np.ones_like(x)], -1).reshape(-1, 3))
    eye = back.apply([0, 0, far])
    u, v, _ = ((1 + eye[2]) / rays[:, 2:] * rays - eye).T.reshape(3, *x.shape)
    return u + width / 2, v + height / 2


SOURCES = {
    "translate": lambda x, y, size, i: (x + 20 - i, y),
    "rotate": lambda x, y, size, i: turned(x, y, (np.array(size) - 1) / 2, i - 15, 1),
    "scale": lambda x, y, size, i: turned(x, y, (np.array(size) - 1) / 2, 0, 0.4 + 0.025 * i),
    "zoom_blur": lambda x, y, size, i: turned(x, y, (np.array(size) - 1) / 2, 0, 1 + 0.004 * i),
    "tilt": lambda x, y, size, i: tilted(x, y, size, i - 15),
}
"""Pixels of the whole image -> where those of the i-th frame come from; of a zoom blur, of what the frame adds."""


@pytest.mark.parametrize("name", SOURCES)
def test_each_pixel_of_a_frame_is_that_of_its_source_and_black_beyond_the_edges(name):
    """On a smooth picture, 77 x 60 px, whose middle 52 px begin at 12 and 4."""
    height, width, side = 60, 77, 52
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 3 * y, 60 + 2 * x, 150 + 60 * np.sin(x / 9 + y / 12)], -1).clip(40, 250).astype(np.uint8)
    y, x = np.mgrid[4 : 4 + side, 12 : 12 + side].astype(float)
    total = np.zeros((side, side, 3))
    for i, frame in enumerate(perturb(image, name, rng(0))):
        sx, sy = SOURCES[name](x, y, (width, height), i)
        expected = np.stack([map_coordinates(image[..., c].astype(float), (sy, sx), order=1) for c in range(3)], -1)
        total += expected
        inside = (sx >= 0) & (sx <= width - 1) & (sy >= 0) & (sy <= height - 1)
        expected, off = (total / (i + 1), 1.5) if name == "zoom_blur" else (expected, 0.5)  # which is cut after it
        assert np.abs(frame[inside] - expected[inside]).max() <= off + 1e-3
        assert not frame[(sx < -1) | (sx > width) | (sy < -1) | (sy > height)].any()


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
    """Motion: radius 10, sigma 3, 4 degrees a frame up to 0. Snow: normal noise of 0.05 +- 0.3, enlarged three times,
    from 0.5 on, which falls with radius 14 and sigma 4 from -150 degrees on, over an image that keeps 85%."""
    called = dict.fromkeys(("move", "snowflakes", "snowed"))

    def recorded(name):
        def record(image, *given):
            called[name].append(given)
            return image[..., 0] if name == "snowflakes" else image

        return record

    for name in called:
        called[name] = []
        monkeypatch.setattr(f"clip_robustness.conditions.perturbations.{name}", recorded(name))
    image, drawn = np.zeros((40, 40, 3), np.uint8), rng(0)
    perturb(image, "motion_blur", drawn)
    perturb(image, "snow", drawn)
    assert called["move"] == [(10, 3, (i - 30) * 4) for i in range(31)]
    assert called["snowflakes"] == [(0.05, 0.3, 3, 0.5, drawn)]
    assert [given[1:] for given in called["snowed"]] == [(0.85, 14, 4, i * 4 - 150) for i in range(31)]


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
