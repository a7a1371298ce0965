"""Kinds of conditions that others register whole: their pixels, and what these promise."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.source import Source
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.pixels import Pixels
from clip_robustness.errors import InputError

_SIDE = 64


def of_source(source: Source) -> Pixels:
    """What the registered function makes of an image: uint8 (side, side, 3), of a sequence (frames, side, side, 3).

    Raises `InputError` naming the function where it fails, or returns anything else.
    """
    found, side, is_sequence = source.condition.registered, source.side, source.condition.kind.is_sequence
    assert found is not None
    try:  # what it is given is kept for other conditions
        made: Any = found.function(replace(source, clean=lambda: source.clean().copy()))
    except (InputError, OSError):
        raise
    except Exception as error:
        raise InputError(f"{found}, {source.condition.id}: {type(error).__name__}: {error}") from error
    shape = made.shape if isinstance(made, np.ndarray) and made.dtype == np.uint8 else ()
    if shape[-3:] != (side, side, 3) or len(shape) != 3 + is_sequence:
        what = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
        frames = "frames, " if is_sequence else ""
        raise InputError(f"{found} returns {what}; return an array of uint8 ({frames}{side}, {side}, 3)")
    pixels: Pixels = made
    return pixels


def check_condition(condition: Condition) -> None:
    """That the function keeps what the suite builds on, on noise of 64 x 64 pixels: type, shape, and the same result
    for the same random numbers. Raises `InputError` with what is wrong."""
    noise, file = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8), io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    sample = Sample("noise.png", Path("noise.png"), 0, content=file.getvalue)
    one, other = (
        of_source(Source(sample, condition, _SIDE, lambda: noise, np.random.default_rng(1))) for _ in range(2)
    )
    if not np.array_equal(one, other):
        raise InputError(f"{condition.registered} differs from call to call; draw from source.rng alone")
