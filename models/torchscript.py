"""The tensors of a TorchScript archive, as OpenAI publishes its weights in one, without running the code in it.

`torch.jit.load` compiles and may run what an archive brings. Here its `data.pkl` is unpickled by names that stand for
tensors, containers and inert modules alone; any other name is refused. The code is text here, of which the lists of
parameters and buffers are read.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

_MOST_OBJECTS, _LONGEST_KEY, _LONGEST_CODE = 100_000, 1000, 1 << 24
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(names: list[str]) -> bool:
    """Whether a zip archive with these members was written by `torch.jit.save`."""
    return any(name.endswith("/constants.pkl") for name in names)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Parameters and buffers by key, also buffers that a state dict leaves out.

    Raises `pickle.UnpicklingError` for an archive that holds anything else than modules made of tensors.
    """
    with zipfile.ZipFile(file) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        found = _Unpickler(archive, root).load()
    tensors: dict[str, Tensor] = {}
    left = [("", found)]
    for _ in range(_MOST_OBJECTS):
        if not left:
            return tensors
        key, value = left.pop()
        if len(key) > _LONGEST_KEY:
            break
        if isinstance(value, Tensor):
            tensors[key] = value
        elif isinstance(value, _Module):
            left += [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.state()]
    raise pickle.UnpicklingError("the modules of the TorchScript archive hold one another without end")


class _Module:
    """What a module of the archive holds, and nothing of what it does."""

    declared: frozenset[str] = frozenset()
    held: Mapping[str, Any] = MappingProxyType({})

    def state(self) -> Iterator[tuple[str, Any]]:
        """Parameters, buffers and modules; other tensors, such as masks, are made anew by the code."""
        return ((k, v) for k, v in self.held.items() if not isinstance(v, Tensor) or k in self.declared)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.held = state


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(_stored(archive, f"{root}data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module.partition(".")[0] == "__torch__":
            return type(name, (_Module,), {"declared": self._declared(module, name)})
        if module == "torch.jit._pickle":  # lists whose type is told: a list as it is
            return _first
        known = {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("collections", "OrderedDict"): OrderedDict}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"the TorchScript archive asks for {module}.{name}")
        return known[module, name]

    def _declared(self, module: str, name: str) -> frozenset[str]:
        """The parameters and buffers of a class; none of one that the archive has no code of."""
        file = f"{self._root}code/{module.replace('.', '/')}.py"
        if file not in self._archive.NameToInfo:
            return frozenset()
        if self._archive.getinfo(file).file_size > _LONGEST_CODE:
            raise pickle.UnpicklingError(f"{file} of the TorchScript archive is too large")
        _, _, body = self._archive.read(file).decode().partition(f"class {name}(Module):\n")
        lists = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", body.partition("\nclass ")[0], re.MULTILINE)
        return frozenset(re.findall(r'"([^"]+)"', " ".join(lists)))

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, _ = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a tensor has no type")
        if (str(key), dtype) not in self._storages:
            content = bytearray(_stored(self._archive, f"{self._root}data/{key}"))
            empty = torch.empty(0, dtype=dtype)
            self._storages[str(key), dtype] = torch.frombuffer(content, dtype=dtype) if content else empty
        return self._storages[str(key), dtype]


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member that is as large as it says: torch compresses code alone."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{name} of the TorchScript archive is compressed, which torch never does")
    return archive.read(name)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)  # which refuses what lies outside


def _first(value: object, *_: object) -> object:
    return value
