"""From any image to what a network takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import normalize, to_tensor

from clip_robustness.models.classifier import Geometry


@dataclass(frozen=True)
class Preprocessing:
    """`geometry` brings an image to `size` x `size` pixels of RGB, as `interpolation` and `crop` say in words; pixels
    in [0, 1] are then normalised by `mean` and `std`."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop: str
    geometry: Geometry = field(repr=False, compare=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """Of `Classifier`."""
        own = {key: getattr(self, key) for key in ("geometry", "mean", "std", "interpolation", "crop")}
        return {"image_size": self.size, **own}

    def normalised(self, image: Image.Image) -> Tensor:
        """What the network sees of an image, float (3, size, size)."""
        seen: Tensor = normalize(to_tensor(self.geometry(image)), self.mean, self.std)
        return seen
