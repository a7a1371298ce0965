"""What the pixels of an image under a condition are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_robustness.conditions.condition import Condition
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.pixels import Pixels, Rng

if TYPE_CHECKING:
    from clip_robustness.conditions.corruptions.frost import Texture


@dataclass(frozen=True)
class Source:
    """`clean()` is the image as the model crops it, uint8 RGB (side, side, 3). `rng` is the image's own under this
    condition. `textures` are the published ones of frost, where there are any."""

    sample: Sample
    condition: Condition
    side: int
    clean: Callable[[], Pixels]
    rng: Rng
    textures: Sequence[Texture] | None = None
