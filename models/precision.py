"""The precision of a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from clip_robustness.models.options import Precision

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def computing_in(name: Precision, device: torch.device) -> Iterator[None]:
    """Do what is inside in this precision. Autocast decides on the types of the backward pass, too; TF32, which no
    other device than CUDA's has, is for the forward pass alone."""
    if name == "tf32" and device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        return
    with torch.autocast(device.type, _AUTOCAST[name]) if name in _AUTOCAST else nullcontext():
        yield
