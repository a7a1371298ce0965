"""Memory that does not suffice: how to tell before and after, and how to go on."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clip_robustness.models.classifier import Classifier

_CGROUP = Path("/sys/fs/cgroup")
_SHARE = 0.5
"""Of the memory that is free now, for a batch: what is kept for later needs some, too."""
_ENOUGH = 384 << 20
"""Bytes of a batch on a CPU, which gains little from a larger one."""
_OVERHEAD = 1.35
"""So many times the tensors of a pass is used at its peak, with what convolutions work in and gaps between blocks."""
_SAID = ("not enough memory", "can't allocate memory", "out of memory", "insufficient memory")
"""By torch's CPU allocator on Windows and elsewhere, by Metal, by OpenCV."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether less work at a time would help."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(said in str(error).lower() for said in _SAID)


def release() -> None:
    """Give back what the failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Batch:
    """How many images pass at a time: what is `wanted`, and what of it `fits` into the memory; both at least 1."""

    wanted: int
    fits: int


def bounded(classifier: Classifier, size: int, *, gradients: bool, sharing: int) -> Batch:
    """The batch, of at most `size` images, for forward passes, or for those with `gradients` of the images.

    On a CPU not more is wanted than it gains from, and what does not fit would be no error that can be caught: the
    kernel ends the process. `sharing` processes share what is free. Devices that don't tell it are not bounded.
    """
    device = classifier.mean.device
    if device.type not in ("cpu", "cuda"):
        return Batch(size, size)
    try:
        needed = _OVERHEAD * bytes_an_image(classifier, gradients=gradients)
    except Exception as error:
        if is_out_of_memory(error):
            return Batch(size, 1)
        # a model without gradients can be attacked by its scores; what else is wrong with it, its cell will say
        return bounded(classifier, size, gradients=False, sharing=sharing) if gradients else Batch(size, size)
    if device.type == "cpu":
        size, free = min(size, max(1, int(_ENOUGH / needed))), free_memory() / sharing
    else:
        free = _free_on_gpu(device) / -(-sharing // torch.cuda.device_count())
    return Batch(size, min(size, max(1, int(_SHARE * free / needed))))


def bytes_an_image(classifier: Classifier, *, gradients: bool) -> int:
    """The tensors of a forward pass of one image that are held at a time, at most, or of one with the image's gradient.

    Weights are not among them. Raises what the pass raises.
    """
    side = classifier.image_size
    with _Held() as held, torch.inference_mode(not gradients), torch.set_grad_enabled(gradients):
        images = torch.full((1, 3, side, side), 0.5, device=classifier.mean.device, requires_grad=gradients)
        logits = classifier(images)
        if gradients:
            torch.autograd.grad(logits.sum(), images)
    return held.most


class _Held(TorchDispatchMode):
    """Counts the bytes of tensors from their making to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._note((args, kwargs), made=False)
        made = func(*args, **(kwargs or {}))
        self._note(made, made=True)
        self.most = max(self.most, self._now)
        return made

    def _note(self, values: Any, *, made: bool) -> None:
        """What was not `made` here, as weights, counts nothing."""
        for storage in (value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)):
            if id(storage) in self._known:
                continue
            self._known.add(id(storage))
            if made:
                self._now += storage.nbytes()
                weakref.finalize(storage, self._forget, id(storage), storage.nbytes()).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def free_memory() -> int:
    """Bytes that this machine, or the container that this is, can still give; what files are cached in can be had."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")]
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")] or found
    with suppress(OSError, ValueError):  # 'max' where there is no limit
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        found.append(limit - used + int(stat.get("inactive_file", 0)))
    return max(0, min(found))


def _free_on_gpu(device: torch.device) -> int:
    """Bytes, with what torch holds and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
