"""A device beside the CPU, for machines that have none: torch's open backend, whose tensors a CPU computes.

As on a GPU, an operation on tensors of both is an error, and values come to the CPU by a copy alone. What reads them
back, for which a GPU has to be waited for, is counted. It has neither streams nor a memory of its own.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "emulated"
_COPIES = ("aten::copy_", "aten::_to_copy")
_INDEXED = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")
"""Take indices of the CPU, too, as on a GPU."""
_LOWERED = ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "conv2d", "scaled_dot_product_attention")
_RAISED = ("layer_norm", "softmax.int", "log_softmax.int", "cross_entropy_loss", "norm.ScalarOpt_dim")
"""Operations that autocast computes in the lower precision, and in float32."""
_readings: Counter[str] = Counter()


class _Tensor(Tensor):
    """`raw` has the values, and the layout."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> _Tensor:
        with torch.inference_mode(False):  # a view of a weight is none of inference, wherever it is taken
            made: _Tensor = Tensor._make_wrapper_subclass(
                cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
                device=torch.device(NAME, 0),
            )  # fmt: skip
        made.raw = raw
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(op, args, kwargs or {})

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_of_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_of_tensors(index), value)

    def tolist(self) -> Any:
        _note("tolist")
        return self.raw.tolist()

    def __repr__(self) -> str:
        return repr(self.raw)

    def __format__(self, spec: str) -> str:
        return format(self.raw, spec)


def _of_tensors(index: Any) -> tuple[Any, ...]:
    """Torch makes tensors of lists where a subclass can't follow."""
    several = index if isinstance(index, tuple) else (index,)
    return tuple(torch.tensor(one) if isinstance(one, list) else one for one in several)


def _computed(op: Any, args: Any, kwargs: Any) -> Any:
    name, to = op._schema.name, kwargs.get("device")
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    here = [value for value in tensors if isinstance(value, _Tensor)]
    away = [value for value in tensors if not isinstance(value, _Tensor) and value.dim()]
    if here and away and name not in (*_COPIES, *_INDEXED):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {NAME} and cpu")
    leaves = to is not None and torch.device(to).type != NAME
    if name == "aten::copy_" and not isinstance(args[0], _Tensor):
        leaves = True
    if here and (leaves or name in ("aten::_local_scalar_dense", "aten::nonzero") or _is_masked(name, args)):
        _note(name)
    given, named = tree_map_only(_Tensor, lambda value: value.raw, (args, kwargs))
    if to is not None:
        named = named | {"device": "cpu"}
    named.pop("pin_memory", None)
    found = op(*given, **named)
    if name == "aten::copy_":
        return args[0]
    if leaves or not (here or to is not None):
        return found
    same = {id(value.raw): value for value in here}  # what is changed in place is returned
    return tree_map_only(Tensor, lambda value: same[id(value)] if id(value) in same else _Tensor(value), found)


def _is_masked(name: str, args: Any) -> bool:
    """How many values a mask takes is read back."""
    masks = args[1] if name in _INDEXED else ()
    return any(isinstance(mask, Tensor) and mask.dtype == torch.bool for mask in masks)


def _note(kind: str) -> None:
    frames = [frame for frame in traceback.extract_stack() if "/tests/gpu/" not in frame.filename]
    ours = next((frame for frame in reversed(frames) if "site-packages" not in frame.filename), frames[-1])
    _readings[f"{ours.filename}:{ours.lineno} {kind}: {ours.line}"] += 1


@contextmanager
def readings() -> Iterator[Counter[str]]:
    """How often values are read back in the block, by the line of the package that asks for it."""
    before = _readings.copy()
    found = Counter[str]()
    yield found
    found.update(_readings - before)


@contextmanager
def device() -> Iterator[torch.device]:
    """For as long as the block runs `torch.tensor` makes tensors of it, too."""
    plain = torch.tensor

    def made(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        there = device is not None and torch.device(device).type == NAME
        return plain(data, **more).to(device) if there else plain(data, device=device, **more)

    torch.tensor = made
    try:
        yield torch.device(NAME, 0)
    finally:
        torch.tensor = plain


def _registered() -> tuple[torch.library.Library, ...]:
    """What it returns is to be kept: the registration ends with it."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend(), device_guard=_Guard())
    anything, autocast = (
        torch.library.Library("_", "IMPL"),
        torch.library.Library("aten", "IMPL", "AutocastPrivateUse1"),
    )
    anything.fallback(lambda op, *args, **kwargs: _computed(op, args, kwargs), "PrivateUse1")
    anything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, lowers in ((_LOWERED, True), (_RAISED, False)):
        for name in names:
            packet, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, packet), overload or "default")
            autocast.impl(name, partial(_cast, op, lowers))
    return anything, autocast


def _cast(op: Callable[..., Any], lowers: bool, *args: Any, **kwargs: Any) -> Any:
    to = torch.get_autocast_dtype(NAME) if lowers else torch.float32
    autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def cast(value: Tensor) -> Tensor:
        return value.to(to) if value.is_floating_point() else value

    with torch._C._ExcludeDispatchKeyGuard(autocast):
        args, kwargs = tree_map_only(Tensor, cast, (args, kwargs))
        return op(*args, **kwargs)


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.PrivateUse1


class _Backend:
    """What torch asks a kind of device for."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def manual_seed_all(self, seed: int) -> None: ...

    def _is_in_bad_fork(self) -> bool:
        return False


_KEPT = _registered()
"""When the module is imported: the first backward pass of a process settles which devices there are."""
