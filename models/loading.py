"""What loading has in common, whatever the library: checkpoint files, errors in one sentence, transforms."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError, warn
from clip_robustness.models.checkpoint import CheckpointError
from clip_robustness.models.classifier import Geometry
from clip_robustness.models.spec import ModelSpec


class ToRGB:
    """Grey, palette, CMYK or transparent images -> RGB."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.convert("RGB")

    def __repr__(self) -> str:
        return "ToRGB()"


def without_tensor_steps(transform: transforms.Compose) -> Geometry:
    """The part of an evaluation transform that works on PIL images: all but the last two steps.

    Those two, to tensor and normalise, are the business of the evaluator and of the classifier.
    """
    *geometry, to_tensor, normalize = transform.transforms
    if "ToTensor" not in type(to_tensor).__name__ or not isinstance(normalize, transforms.Normalize):
        raise TypeError(f"a transform that ends in ToTensor and Normalize was expected: {transform}")
    return transforms.Compose(geometry)


def check_fit(
    net: nn.Module, state: dict[str, Tensor], spec: ModelSpec, classes: ClassList | None = None, hint: str = ""
) -> None:
    """Raise `InputError` saying which keys do not fit, or that a head has other classes than the suite, and as
    `check_values` does; `hint` is what else is known of the weights."""
    own = net.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshapen = [key for key in own if key in state and own[key].shape != state[key].shape]
    if not missing and not unexpected and not misshapen:
        check_values(own, state, spec)
        return
    if classes and misshapen and not missing and not unexpected:
        head = misshapen[0]
        if all(own[key].shape[0] == len(classes) for key in misshapen):
            raise InputError(
                f"model spec '{spec}': {spec.file} has {state[head].shape[0]} classes ({head}), but the suite's class "
                f"list '{classes.name}' has {len(classes)}; give a file whose head is for these classes"
            )
    parts = [part for part in (hint, _kept_under(own, unexpected)) if part]
    parts += [f"{key} has the shape {tuple(state[key].shape)}, not {tuple(own[key].shape)}" for key in misshapen[:3]]
    for what, keys in (("missing", missing), ("unexpected", unexpected)):
        if keys:
            parts.append(f"{len(keys)} keys are {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})")
    raise InputError(f"model spec '{spec}': {spec.file} does not fit {spec.name}: {'; '.join(parts)}")


def _kept_under(own: Mapping[str, Tensor], unexpected: Sequence[str]) -> str:
    """What unexpected keys tell: adapters, or under which prefixes the wanted ones lie among others."""
    if any(".lora_" in key or ".base_layer." in key for key in unexpected):
        return "it holds adapters (LoRA) that are not merged; call merge_and_unload() of PEFT and save what it gives"
    longest = max(own, key=len, default="")
    if under := sorted({key.removesuffix(longest) for key in unexpected if key.endswith(f".{longest}")}):
        return f"its keys begin with {' or '.join(under)}; save the weights of one of them alone"
    return ""


def check_values(own: Mapping[str, Tensor], state: Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Raise `InputError` for weights that stand for numbers which the file does not tell, quantised ones above all:
    torch would copy most of them as they are. Warn of floats of eight bits, whose scales may lie elsewhere."""
    pairs = [(key, value) for key, value in state.items() if key in own and own[key].is_floating_point()]
    for key, value in pairs:
        if value.is_meta or value.layout != torch.strided or not value.is_floating_point():
            what = value.dtype if value.layout == torch.strided else value.layout
            kind = "without values" if value.is_meta else f"of {str(what).removeprefix('torch.')}"
            raise InputError(
                f"model spec '{spec}': {key} of its weights is {kind}: quantised, or no plain tensor of floats; save "
                "the model in float32, float16 or bfloat16"
            )
    if eight := [key for key, value in pairs if value.element_size() == 1]:
        warn(
            f"{spec}: {len(eight)} of its weights are of {str(state[eight[0]].dtype).removeprefix('torch.')} and taken "
            "as they are, without scales; if it was quantised with some, save the model in float32, float16 or bfloat16"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what libraries log that is not true here, such as that a model stays at random weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def hub_or_file_errors(spec: ModelSpec) -> Iterator[None]:
    """Turn what goes wrong inside a library's loader into one sentence about the spec."""
    try:
        yield
    except InputError:
        raise
    except CheckpointError as error:
        raise InputError(f"model spec '{spec}': {error}") from error
    except ImportError as error:
        mend = (
            f"the package {error.name}; pip install {error.name}" if error.name else f"a package ({_first_line(error)})"
        )
        raise InputError(f"model spec '{spec}': it needs {mend}") from error
    except Exception as error:
        if not spec.file:
            local = "transformers:FOLDER" if spec.kind == "transformers" else f"{spec.kind}:ARCHITECTURE@FILE"
            mend = "check the folder" if spec.folder else f"check the network, or give a local checkpoint as {local}"
            raise InputError(
                f"model spec '{spec}': its weights can't be had ({_first_line(error)[:200]}); {mend}"
            ) from error
        detail = " ".join(str(error).split())[:300]
        raise InputError(f"model spec '{spec}': {spec.file} does not load: {type(error).__name__}: {detail}") from error
