"""What a run computes on."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from models.errors import InputError


def tune_allocator() -> None:
    """Keep large freed blocks in the process instead of returning them to the system after each layer.

    With glibc's defaults every activation of a CPU forward pass is mapped, faulted in and unmapped anew. Does nothing
    where the C library has no `mallopt`.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 64 << 20)


def set_up_device(name: str) -> torch.device:
    """Choose the device, and make the CPU's threads and memory ready for inference.

    `auto` takes the first accelerator there is, else the CPU. Under xdist workers take turns at the GPUs, and divide
    the CPU's threads among themselves. Raises `InputError` for a device that torch does not know or can't reach."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    tune_allocator()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", worker % torch.cuda.device_count())
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from error
    return device
