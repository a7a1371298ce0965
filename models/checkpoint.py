"""A checkpoint file -> its weights and what it says of itself, without executing code in it; or what it is instead."""

from __future__ import annotations

import json
import re
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clip_robustness.models.torchscript import is_torchscript, read_tensors

_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "shadow")
_NAMELESS = "shadow_params"
"""Averaged weights as a list, in the order of a model's parameters, as torch_ema and diffusers have them."""
_PLAIN = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""Where training scripts, DeepSpeed among them, keep the weights; the first that is there counts."""
_INSIDE = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
"""What compilation, FSDP, activation checkpointing and Fabric put into keys, at any depth."""
_DATA = re.compile(
    r"(numpy|pathlib|datetime|collections|typing|omegaconf|yacs|easydict|pytorch_lightning|lightning|lightning_fabric)\."
    r"|builtins\.(list|dict|set|frozenset|tuple|int|float|complex|bool|str|bytes|bytearray|object|slice|range)$"
)
"""What training leaves beside the weights: best accuracies, places, times, settings. None of it is built."""
_NUMBERS = ("logit_scale", "logit_bias")
"""Weights that some files have as a number or a list of one."""
_USUAL = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
_ENDINGS = (".safetensors", ".bin", ".pth", ".safetensors.index.json", ".bin.index.json")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")
_DEEPEST = 8
_LARGEST_INDEX, _LARGEST_HEADER = 1 << 26, 100_000_000
_SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer instead of the weights; run git lfs pull where it comes from"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
    (b"BZh", "compressed by bzip2; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it"),
    (b"\xfd7zXZ", "compressed by xz; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them; PyTorch weights are expected"),
    (b"GGUF", "a GGUF file of llama.cpp; PyTorch weights are expected"),
    (b"\x93NUMPY", "a NumPy array; PyTorch weights are expected"),
)


class _Forgotten:
    """Stands for an object of NumPy, whatever it is made of."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class _Emptied:
    """Stands for any other object, which torch fills only where it is a plain dict of its own kinds."""

    def __new__(cls, *_: object) -> OrderedDict[str, Any]:  # type: ignore[misc]
        return OrderedDict()


class CheckpointError(ValueError):
    """A file holds no weights that can be read. The message begins with the file."""


@dataclass(frozen=True)
class Checkpoint:
    """`weights` by key, free of what training wraps around them; `arguments` of the training, where the file has them;
    `form`, where it is an unusual one."""

    weights: dict[str, Tensor]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    form: str = ""


def read_checkpoint(file: Path, *, ema: bool = True) -> Checkpoint:
    """The weights in a torch or safetensors file, a TorchScript archive, or the shards that an index names.

    Of a training checkpoint these are the averaged weights where it has them and `ema` asks for them, else the others.
    Raises `CheckpointError` saying what the file is instead.
    """
    if (found := _SHARD.search(file.name)) and int(found[1]) > 1:
        index = f"{_SHARD.split(file.name)[0]}{file.suffix}.index.json"
        raise CheckpointError(f"{file} is one of {int(found[1])} shards; give the index {index} beside them instead")
    content, form = _read(file)
    arguments = content.get("args") if isinstance(content, dict) else None
    if isinstance(arguments, Namespace):
        arguments = vars(arguments)
    weights = _clean(dict(_tensors(_unwrapped(file, content, ema))))
    return Checkpoint(weights, arguments if isinstance(arguments, dict) else {}, form)


def weights_in(folder: Path, names: Sequence[str] = _USUAL) -> Path:
    """The file of the weights in a folder as libraries save it, under one of `names` and some ending.

    Raises `CheckpointError` where it is not clear.
    """
    for name, ending in product(names, _ENDINGS):
        if (folder / f"{name}{ending}").is_file():
            return folder / f"{name}{ending}"
    found = sorted(file for file in folder.iterdir() if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found)
    raise CheckpointError(
        f"{folder} has several files that may be the weights ({names})" if found else f"{folder} has no weights"
    )


def _read(file: Path) -> tuple[Any, str]:
    try:
        return _content(file)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged or hostile file makes the libraries raise anything
        raise CheckpointError(f"{file} {_reason(file, error)}") from error


def _content(file: Path) -> tuple[Any, str]:
    """What the file holds, and its form. The content decides, not the name's ending."""
    with file.open("rb") as opened:
        head = opened.read(4096)
    if not head:
        raise CheckpointError(f"{file} is empty; copy or download it again")
    if sign := next((what for mark, what in _SIGNS if head.startswith(mark)), None):
        raise CheckpointError(f"{file} is {sign}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LARGEST_HEADER:
        return load_file(file), ""
    if head.startswith(b"PK"):
        return _zipped(file)
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{file} is a tar archive; unpack it, and give the file of the weights")
    if (text := _text(head)) is not None:
        return _written(file, text), "an index of shards"
    return (load_file(file) if file.suffix == ".safetensors" else _torch(file)), ""


def _zipped(file: Path) -> tuple[Any, str]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if is_torchscript(names):
        return read_tensors(file), "a TorchScript archive"
    if any(name.endswith("data.pkl") for name in names):
        return _torch(file), ""
    if names and all(name.endswith(".npy") for name in names):
        raise CheckpointError(f"{file} is a NumPy archive, as big_vision writes them; PyTorch weights are expected")
    raise CheckpointError(f"{file} is a zip archive of something else ({', '.join(names[:2])}); unpack it")


def _torch(file: Path) -> Any:
    with file.open("rb") as opened:  # a path would be read by its ending
        passed = [(_Forgotten if name.startswith("numpy.") else _Emptied, name) for name in _globals(opened)]
        opened.seek(0)
        # the arguments of timm's and torchvision's training are a Namespace: values by name, and no code
        with torch.serialization.safe_globals([Namespace, *(one for one in passed if _DATA.match(one[1]))]):
            return torch.load(opened, map_location="cpu", weights_only=True)


def _globals(opened: BinaryIO) -> list[str]:
    """What a zip file of torch asks for beside tensors, except a Namespace."""
    with suppress(Exception):  # of another format, or damaged, which is told when it is loaded
        found: list[str] = torch.serialization.get_unsafe_globals_in_checkpoint(opened)
        return [name for name in found if name != "argparse.Namespace"]
    return []


def _text(head: bytes) -> str | None:
    """The beginning of a file of text."""
    text = head.decode("utf-8-sig", errors="ignore")
    control = any(byte < 9 or 13 < byte < 32 for byte in head)
    return None if control or len(text.encode()) + 6 < len(head) else text.lstrip()  # a mark before, half a letter last


def _written(file: Path, text: str) -> dict[str, Any]:
    """The content of the shards of an index. Raises `CheckpointError` for any other text."""
    if text.startswith("<"):
        what = "an XML document" if text.startswith("<?xml") else "an HTML page"
        raise CheckpointError(f"{file} is {what} instead of the weights, as a failed download leaves it")
    try:
        index: Any = json.loads(file.read_text(encoding="utf-8-sig")) if file.stat().st_size < _LARGEST_INDEX else {}
        shards = {name: file.parent / name for name in sorted(set(index["weight_map"].values()))}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CheckpointError(
            f"{file} is text instead of weights, it begins '{' '.join(text.split())[:60]}'; give the weights' file"
        ) from None
    if outside := [name for name in shards if Path(name).name != name]:
        raise CheckpointError(f"{file} is an index that names {outside[0]}, a shard outside of its folder")
    if missing := [name for name, shard in shards.items() if not shard.is_file()]:
        raise CheckpointError(
            f"{file} is an index of {len(shards)} shards, but {missing[0]} is not beside it ({len(missing)} missing)"
        )
    content: dict[str, Any] = {}
    for shard in shards.values():
        content |= _read(shard)[0]
    return content


def _reason(file: Path, error: Exception) -> str:
    """Words for what torch and safetensors raise."""
    first = (str(error).splitlines() or [""])[0].partition(". ")[0][:200] or type(error).__name__
    if isinstance(error, zipfile.BadZipFile) or "central directory" in first:
        return "is cut off or damaged; copy or download it again"
    if isinstance(error, SafetensorError):
        return f"is no safetensors file, cut off or damaged ({first}); copy or download it again"
    if isinstance(error, OSError):
        return f"can't be read: {error.strerror or error}"
    with file.open("rb") as opened:
        names = sorted(name for name in _globals(opened) if not _DATA.match(name))
    names = names or re.findall(r"GLOBAL (\S+)", str(error))  # of a file before zip
    first = f"it asks for {', '.join(names[:3])}" if names else first
    return (
        f"is not a checkpoint that loads without executing code ({first}); save its state dict with torch.save or as "
        "safetensors"
    )


def _unwrapped(file: Path, content: Any, ema: bool) -> dict[Any, Any]:
    """The dict of the weights, out of what training scripts wrap around it."""
    names = (*(_AVERAGED if ema else ()), *_PLAIN)
    for _ in range(_DEEPEST):
        if not isinstance(content, dict):
            raise CheckpointError(f"{file} holds a {type(content).__name__}, not weights by name")
        if ema and isinstance(content.get(_NAMELESS), list | tuple):
            raise CheckpointError(
                f"{file} has averaged weights without their names ({_NAMELESS}); copy them into the model "
                "(ema.copy_to) and save its state dict, or take the others that the file has by ?ema=false"
            )
        inner = next((name for name in names if isinstance(content.get(name), dict) and content[name]), None)
        if inner is None and not _has_tensors(content):
            others = [key for key, value in content.items() if isinstance(value, dict) and _has_tensors(value)]
            if len(others) != 1:
                raise CheckpointError(f"{file} {_none(content, others)}")
            inner = others[0]
        if inner is None:
            return content
        content = content[inner]
    raise CheckpointError(f"{file} wraps its weights without end")


def _none(content: Mapping[Any, Any], several: list[Any]) -> str:
    if several:
        return f"holds several state dicts ({', '.join(map(str, several))}); save the one that you mean alone"
    if any(isinstance(value, _Forgotten) for value in content.values()):
        return "holds NumPy arrays by name; save them as tensors (torch.from_numpy)"
    held = ", ".join(map(str, [*content][:6])) or "nothing"
    optimizer = any("optim" in str(key) or key == "param_groups" for key in content)
    return f"holds no weights but {held}" + ("; it is the state of an optimizer" if optimizer else "")


def _tensors(content: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor) and isinstance(key, str):
            yield key, value
        elif key in _NUMBERS and isinstance(value, int | float | list):
            yield key, torch.as_tensor(value, dtype=torch.float32)


def _has_tensors(content: Mapping[Any, Any]) -> bool:
    return next(_tensors(content), None) is not None


def _clean(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what wrappers put into the keys: inside them, and before all of them."""
    weights = {_INSIDE.sub("", key): value for key, value in weights.items() if key != "n_averaged"}
    while len(weights) > 1:
        first = {key.partition(".")[0] if "." in key else "" for key in weights}
        if len(first) > 1 or first == {""}:
            break
        weights = {key.partition(".")[2]: value for key, value in weights.items()}
    return weights
