"""What loading has in common, whatever the library: errors in one sentence, and the geometry of a transform."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from safetensors import SafetensorError
from torchvision import transforms

from models.classifier import Geometry
from models.errors import InputError
from models.spec import ModelSpec


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


@contextmanager
def hub_or_file_errors(spec: ModelSpec) -> Iterator[None]:
    """Turn what goes wrong inside a library's loader into one sentence about the spec."""
    try:
        yield
    except Exception as error:
        reasons = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if not spec.file:
            raise InputError(
                f"model spec '{spec}': its weights can't be had ({reasons[0][:200]}); "
                f"check the network, or give a local checkpoint as {spec.kind}:ARCHITECTURE@FILE"
            ) from error
        # timm wraps the unpickling error in a RuntimeError that recommends what must not be done here
        if isinstance(error, pickle.UnpicklingError | EOFError | SafetensorError) or "weights_only" in reasons[0]:
            raise InputError(
                f"model spec '{spec}': {spec.file} is not a checkpoint that loads without executing code "
                f"({reasons[0].partition('. ')[0][:200]}); save its state dict with torch.save or as safetensors"
            ) from error
        # load_state_dict names the module in its first line, the keys that do not fit in the next ones
        detail = " ".join(reasons[1:3] or reasons)[:300]
        raise InputError(f"model spec '{spec}': {spec.file} does not fit {spec.name}: {detail}") from error
