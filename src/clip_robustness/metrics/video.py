"""pm-k, the accuracy on videos (Shankar et al. 2019, "Do image classifiers generalize across time?").

pm-0 is the accuracy on the anchor frames. Under pm-k an anchor counts only if it and all of its near-duplicate
neighbours within k frames are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clip_robustness.datasets.dataset import Anchor
from clip_robustness.metrics.outcomes import Outcomes

K = 10
"""The k of the benchmark, and the reach of the published sets."""


def over_anchors(frames: Outcomes, anchors: Sequence[Anchor], k: int = K) -> Outcomes:
    """Outcomes of frames -> outcomes of anchors: `correct` under pm-k, and pm-0 among the `others`. What was measured
    of each frame is none of it.

    An anchor is left out if it or one of its neighbours within k frames could not be decoded.
    """
    row = {frame: i for i, frame in enumerate(frames.ids)}
    sets = [[anchor.id, *(frame for frame, distance in anchor.near if distance <= k)] for anchor in anchors]
    readable = [[row[frame] for frame in members] for members in sets if all(frame in row for frame in members)]
    first = np.array([members[0] for members in readable], np.int64)
    return replace(
        frames,
        ids=tuple(frames.ids[i] for i in first),
        labels=frames.labels[first],
        predictions=frames.predictions[first],
        correct=np.array([frames.correct[members].all() for members in readable], bool),
        others={"pm0": frames.correct[first]},
        rivals=None,
        measures={},
    )
