"""Memory that does not suffice: how to tell before and after, and how to go on."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from clip_robustness.models.classifier import Classifier
from clip_robustness.models.device import workers

_CGROUP = Path("/sys/fs/cgroup")
_SHARE = 0.5
"""Of the memory that is free now, for a batch: what is kept for later needs some, too."""
_BACKWARD = 1.5
"""So many times what a forward pass keeps for its gradient is used at the peak of the backward pass."""
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


def bounded(classifier: Classifier, size: int) -> int:
    """The batch, of at most `size` images, whose gradients fit into the memory that is free; at least 1.

    On a CPU a larger one would be no error that can be caught: the kernel ends the process. On other devices `size`.
    """
    if classifier.mean.device.type != "cpu":
        return size
    free = _SHARE * free_memory() / workers()
    try:
        return max(1, min(size, int(free / (_BACKWARD * bytes_an_image(classifier)))))
    except Exception as error:  # a model without gradients can be attacked by its scores
        return 1 if is_out_of_memory(error) else size


def bytes_an_image(classifier: Classifier) -> int:
    """What a forward pass keeps of an image for its gradient."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    side = classifier.image_size
    images = torch.full((1, 3, side, side), 0.5, device=classifier.mean.device, requires_grad=True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = classifier(images)  # held, so that no storage gets another's address
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*classifier.parameters(), *classifier.buffers())}
    del logits
    return max(1, sum(size for pointer, size in kept.items() if pointer not in weights))


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
