"""ImageNet-P: sequences of frames in which an image changes little by little (Hendrycks & Dietterich 2019).

Parameters of the published code. Geometric changes are made to the whole image, the frames are its centre, as the
published ones are the central 224 px of an image whose shorter side is 256 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clip_robustness.conditions.corruptions.blur import move
from clip_robustness.conditions.corruptions.digital import brighter
from clip_robustness.conditions.corruptions.noise import add_normal, photons
from clip_robustness.conditions.corruptions.weather import snowed, snowflakes
from clip_robustness.datasets.pixels import Pixels, Rng, checked, to_pixels
from clip_robustness.errors import InputError, nearest

_Matrix = NDArray[np.float64]


def perturb(image: NDArray[Any], name: str, rng: Rng, *, side: int | None = None, difficulty: int = 1) -> Pixels:
    """The frames of a sequence, uint8 (31, side, side, 3), of `translate` 41, from an RGB image (height, width, 3).

    `side` None: 7/8 of the image's shorter side. `difficulty` 1-3 is the strength of the noise; of the other
    sequences it is the step between the frames that are compared (`metrics.flips`), and the frames are the same.
    Raises `InputError` for an unknown name or difficulty, a side larger than the image, and as `corrupt` does.
    """
    if name not in _SEQUENCES:
        raise InputError(f"perturbation '{name}' is unknown; {nearest(name, _SEQUENCES)}")
    if difficulty not in (1, 2, 3):
        raise InputError(f"difficulty {difficulty} does not exist; it goes from 1 to 3")
    pixels = checked(image)
    shorter = min(pixels.shape[:2])
    side = side or shorter * 7 // 8
    if side > shorter:
        raise InputError(f"frames of {side} px don't fit into an image of {shorter} px; enlarge it, or lower the side")
    return np.stack(list(_SEQUENCES[name](_View(pixels, side), difficulty, rng)))


class _View:
    """The centre of an image, and of transformed copies of it."""

    def __init__(self, image: Pixels, side: int) -> None:
        self.image, self.side = image, side
        self.height, self.width = image.shape[:2]
        self.left, self.top = round((self.width - side) / 2), round((self.height - side) / 2)

    @property
    def centre(self) -> Pixels:
        return np.ascontiguousarray(self.image[self.top : self.top + self.side, self.left : self.left + self.side])

    def through(self, matrix: _Matrix) -> Pixels:
        """The centre of the image after a homography (3, 3) of pixel coordinates; black beyond the edges."""
        crop = np.array([[1, 0, -self.left], [0, 1, -self.top], [0, 0, 1]])
        return cv2.warpPerspective(self.image, crop @ matrix, (self.side, self.side), flags=cv2.INTER_LINEAR)

    def turned(self, degrees: float, scale: float) -> Pixels:
        """Turned clockwise about the middle and enlarged."""
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        return self.through(np.vstack([cv2.getRotationMatrix2D(middle, -degrees, scale), [0, 0, 1]]))


def _gaussian_noise(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    yield view.centre
    yield from (add_normal(view.centre, (0.03, 0.05, 0.08)[difficulty - 1], rng) for _ in range(30))


def _shot_noise(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    yield view.centre
    yield from (photons(view.centre, (300, 120, 60)[difficulty - 1], rng) for _ in range(30))


def _motion_blur(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    values = view.centre.astype(np.float32)
    return (to_pixels(move(values, 10, 3, 4 * (i - 30))) for i in range(31))


def _zoom_blur(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    """The mean of all enlargements so far."""
    total = np.zeros(view.centre.shape, np.float32)
    for i in range(31):
        total += view.turned(0, 1 + 0.004 * i)
        yield to_pixels(total / (i + 1))


def _snow(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    """The same flakes, falling ever more slanted to the other side."""
    flakes = snowflakes(view.centre, 0.05, 0.3, 3, 0.5, rng)
    return (snowed(view.centre, flakes, 0.85, 14, 4, 4 * i - 150) for i in range(31))


def _brightness(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    return (brighter(view.centre, 0.02 * (i - 15)) for i in range(31))


def _translate(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    return (view.through(np.array([[1.0, 0, i], [0, 1, 0], [0, 0, 1]])) for i in range(-20, 21))


def _rotate(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    return (view.turned(degrees, 1) for degrees in range(-15, 16))


def _scale(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    return (view.turned(0, 0.4 + 0.025 * i) for i in range(31))


def _tilt(view: _View, difficulty: int, rng: Rng) -> Iterator[Pixels]:
    """The picture plane turns about both axes, seen from as far as its diagonal is long.

    As in the published code it lies one pixel behind the axes, so that even untilted it is a trifle smaller.
    """
    width, height = view.width, view.height
    far = np.hypot(width, height)
    to_plane = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    to_camera = np.array([[far, 0, width / 2], [0, far, height / 2], [0, 0, 1]])
    for degrees in range(-15, 16):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        yield view.through(to_camera @ (turn @ to_plane + np.diag([0, 0, far])))


_SEQUENCES: dict[str, Callable[[_View, int, Rng], Iterator[Pixels]]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "brightness": _brightness,
    "translate": _translate,
    "rotate": _rotate,
    "tilt": _tilt,
    "scale": _scale,
}
