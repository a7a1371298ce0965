"""What a run computes on. Light to import."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

from clip_robustness.errors import InputError, number_of

if TYPE_CHECKING:
    import torch


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


def device_of(name: str, worker: int = 0) -> torch.device:
    """The device that `--device` names, for the worker of this number: workers take turns at the GPUs.

    `auto` takes the first kind of accelerator there is, else the CPU. Raises `InputError` for a device that torch does
    not know or can't reach."""
    import torch

    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", worker % torch.cuda.device_count())
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {_missing(name) or str(error).splitlines()[0]}") from error
    return device


def _missing(name: str) -> str:
    """What torch says in many lines, where there is no such accelerator; '' where the reason is another."""
    import torch

    kind, count = name.partition(":")[0], torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and not count:
        return "torch finds no CUDA GPU here; give --device cpu"
    if kind == "cuda":
        found = number_of(count, "CUDA GPU")
        return f"torch finds {found} here, numbered from 0; give one of them, or --device cuda for all"
    if kind == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Apple GPU here; give --device cpu"
    try:
        torch.device(name)
    except RuntimeError:
        return "torch has no such device; give auto, cpu, cuda, cuda:1 or mps"
    return ""


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What the CPU has, on a device: from memory that a GPU reads by itself, which need not finish its work first."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=device.type == "cuda")


def threads_of(workers: int) -> int:
    """A worker's share of the CPUs that this process may use; `OMP_NUM_THREADS`, where it is set, is per worker."""
    if (chosen := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        return max(1, int(chosen))
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // workers)


def workers() -> int:
    """Of pytest-xdist, that share this machine; 1 without it."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def worker() -> int:
    """The number of this one."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def set_up_device(name: str) -> torch.device:
    """The device of this process, with the CPU's threads and memory made ready for inference, and with float32 meaning
    float32: CUDA's convolutions would take TensorFloat-32, with three digits, which makes gradients noisy."""
    import torch

    tune_allocator()
    torch.set_num_threads(threads_of(workers()))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return device_of(name, worker())
