"""How an image becomes what a model sees, in parameters that can be changed one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image
from timm.data.transforms import ResizeKeepRatio
from torchvision.transforms import Compose, InterpolationMode, Resize
from torchvision.transforms import functional as F

from clip_robustness.models.classifier import Geometry


@dataclass(frozen=True)
class Resizing:
    """The shorter side becomes `shorter` pixels, and the middle `side` x `side` are taken; with `squash` the whole
    image becomes `side` x `side`. `first`: the shorter side becomes so many pixels before."""

    side: int
    shorter: int
    interpolation: InterpolationMode
    antialias: bool = True
    squash: bool = False
    first: int | None = None

    def __call__(self, image: Image.Image) -> Image.Image:
        image = image.convert("RGB")
        if self.first:
            image = self._resized(image, self.first)
        image = self._resized(image, [self.side, self.side] if self.squash else self.shorter)
        return F.center_crop(image, [self.side, self.side])

    def _resized(self, image: Image.Image, size: int | list[int]) -> Image.Image:
        target = [size] if isinstance(size, int) else size
        if self.antialias:
            return F.resize(image, target, self.interpolation)
        pixels = F.resize(F.pil_to_tensor(image), target, self.interpolation, antialias=False)
        return F.to_pil_image(pixels)


def resizing_of(geometry: Geometry, side: int) -> Resizing | None:
    """The parameters of a transform of open_clip, timm or torchvision; None for others. What pads the longer side
    counts as a resize of the shorter one."""
    steps = list(_steps(geometry))
    resize = next((step for step in steps if isinstance(step, Resize | ResizeKeepRatio)), None)
    if resize is None or not isinstance(geometry, Compose):
        return None
    size = resize.size if isinstance(resize, Resize) else side
    squash = not isinstance(size, int) and len(size) == 2
    shorter = size if isinstance(size, int) else size[0]
    interpolation = resize.interpolation
    mode = interpolation if isinstance(interpolation, InterpolationMode) else InterpolationMode.BICUBIC
    return Resizing(side, shorter, mode, getattr(resize, "antialias", True) is not False, squash)


def _steps(geometry: Any) -> Iterator[Any]:
    if isinstance(geometry, Compose):
        for step in geometry.transforms:
            yield from _steps(step)
    else:
        yield geometry
