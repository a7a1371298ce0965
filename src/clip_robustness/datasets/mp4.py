"""Sequences of frames as mp4 files, the format of the published ImageNet-P. Light to import."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clip_robustness.datasets.pixels import Pixels


def read_video(path: Path) -> Pixels:
    """All frames of an mp4, uint8 RGB (frames, height, width, 3).

    Raises `OSError` naming a file that is missing, broken, or has no frames of one size.
    """
    import av

    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            return np.stack(frames)
    except (av.FFmpegError, IndexError, ValueError) as error:  # no video stream; no frames, or of several sizes
        raise OSError(f"{path} is not a video that can be decoded: {error}") from error


def write_video(path: Path, frames: Pixels) -> None:
    """Write frames, uint8 RGB (frames, height, width, 3) with even sides, as an mp4 (H.264)."""
    import av

    with av.open(str(path), "w") as container:
        # hardly any loss; without the tree of macroblocks, which makes another file of the same frames each time
        options = {"crf": "10", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
