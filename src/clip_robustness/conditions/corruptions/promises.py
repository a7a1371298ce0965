"""What a corruption promises, ours or a plugin's: an image in, an image out, the same for the same random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clip_robustness.conditions.corruptions.frost import Texture
from clip_robustness.datasets.pixels import Pixels, Rng
from clip_robustness.errors import InputError
from clip_robustness.registry import Registered, unregistered

SEVERITIES = range(1, 6)


def corrupted(
    plugin: Registered, image: Pixels, severity: int, rng: Rng, textures: Sequence[Texture] | None = None
) -> Pixels:
    """The image, uint8 RGB (height, width, 3), as a corruption changes it. Who is registered with `textures` gets them.

    Raises `InputError` naming the corruption where its function fails, or returns anything but such an image.
    """
    given = [textures] if plugin.options.get("textures") else []
    before = image.copy()
    try:
        found: Any = plugin.function(image, severity, rng, *given)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{plugin}, severity {severity}: {type(error).__name__}: {error}") from error
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != before.shape:
        what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise InputError(f"{plugin} returns {what}; return an array of uint8 {before.shape}, as it is given")
    if not np.array_equal(image, before):
        raise InputError(f"{plugin} changes the image that it is given; let it work on a copy")
    return found


def check_corruption(function: Callable[..., Any] | Registered) -> None:
    """That `function(image, severity, rng)` keeps what the suite builds on, on noise and on a slope of 64 x 64 pixels
    at all severities: type, shape, the given image, and the same result for the same random numbers.

    Raises `InputError` with what is wrong.
    """
    plugin = function if isinstance(function, Registered) else unregistered("corruption", function)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    slope = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (64, 64, 3)).copy()
    for image in (noise, slope):
        for severity in SEVERITIES:
            one, other = (corrupted(plugin, image, severity, np.random.default_rng(1)) for _ in range(2))
            if not np.array_equal(one, other):
                raise InputError(f"{plugin} differs from call to call; draw from the generator that it is given alone")
