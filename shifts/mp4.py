"""Frames of the published ImageNet-P files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.errors import InputError
from shifts.pixels import Pixels


def read_video(path: Path) -> Pixels:
    """All frames of an mp4, uint8 RGB (frames, height, width, 3).

    Raises `InputError` without PyAV, and `OSError` naming a file that is missing, broken or has no frames.
    """
    try:
        import av
    except ImportError:
        raise InputError(f"reading {path} needs PyAV; install it with: pip install av") from None
    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.FFmpegError, IndexError) as error:  # IndexError: no video stream
        raise OSError(f"{path} is not a video that can be decoded: {error}") from error
    if not frames:
        raise OSError(f"{path} has no frames")
    return np.stack(frames)
