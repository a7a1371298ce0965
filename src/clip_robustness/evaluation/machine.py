"""What a run computes on, remembered from run to run, as only torch can tell. Light to import."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from clip_robustness.cache import CacheError, cache_folder, keep

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_DRIVERS = ("nvidia*", "kfd", "dxg")
"""Under /dev, of CUDA, ROCm and WSL."""


@dataclass(frozen=True)
class Machine:
    """The device that `--device` means for a worker, such as 'cuda:0', and what the GPUs of this machine are called."""

    device: str
    gpus: tuple[str, ...] = ()

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]


@cache
def machine(name: str, worker: int = 0) -> Machine:
    """For the worker of this number. What is remembered counts as long as torch and the drivers' devices are the same.

    Raises `InputError` for a device that torch does not know or can't reach.
    """
    file = f"machines/{_key(name, worker)}.json"
    try:
        found = json.loads((cache_folder() / file).read_text(encoding="utf-8"))
        return Machine(str(found["device"]), tuple(found["gpus"]))
    except (OSError, CacheError, ValueError, KeyError, TypeError):
        asked = _asked(name, worker)
    if bool(asked.gpus) != bool(_drivers()):  # a driver that is broken today may be mended tomorrow
        return asked
    keep(file, json.dumps(asdict(asked)).encode())
    return asked


def _asked(name: str, worker: int) -> Machine:
    import torch

    from clip_robustness.models.device import device_of

    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Machine(str(device_of(name, worker)), gpus)


def _key(name: str, worker: int) -> str:
    visible = [os.environ.get(variable) for variable in _VISIBLE]
    parts = (name, worker, version("torch"), platform.node(), platform.machine(), _drivers(), visible)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _drivers() -> list[str]:
    return sorted(str(found) for pattern in _DRIVERS for found in Path("/dev").glob(pattern))
