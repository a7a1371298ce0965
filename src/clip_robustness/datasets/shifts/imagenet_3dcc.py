"""ImageNet-3DCC: twelve corruptions that follow the geometry of the scene, or come from cameras and videos."""

from __future__ import annotations

from clip_robustness.datasets.classes import ClassList
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.datasets.label_space import ClassSpace
from clip_robustness.datasets.shifts.imagenet_c import read_corrupted
from clip_robustness.registry import shift


@shift(
    "imagenet-3dcc",
    source="Kar et al. 2022, 3D Common Corruptions",
    licence="CC BY-NC 4.0",
    corruptions=(
        "near_focus",
        "far_focus",
        "bit_error",
        "color_quant",
        "flash",
        "fog_3d",
        "h265_abr",
        "h265_crf",
        "iso_noise",
        "low_light",
        "xy_motion_blur",
        "z_motion_blur",
    ),
    images=50000,
    cropped=True,
)
def read(data: str, place: str, space: ClassSpace, classes: ClassList, part: str) -> Dataset:
    return read_corrupted(data, place, space, classes, part)
