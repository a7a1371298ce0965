"""What a model makes of an image before its head: an embedding to compare images by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from clip_robustness import models
from clip_robustness.datasets.classes import ClassList
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import Classifier, Geometry, probe_images
from clip_robustness.models.device import workers
from clip_robustness.models.memory import bounded
from clip_robustness.models.spec import ModelSpec
from clip_robustness.models.zero_shot import ZeroShot

Vectors = NDArray[np.float32]
"""Shape (n, width)."""
BATCH = 64
"""Images at a time, where that many fit into memory."""


@dataclass(frozen=True)
class Encoder:
    """Images -> embeddings of length 1; `fingerprint` stands for everything that they depend on."""

    name: str
    fingerprint: str
    width: int
    geometry: Geometry
    features: Callable[[Tensor], Tensor]
    device: torch.device
    batch: int = BATCH
    """How many images it takes at a time."""

    def __call__(self, images: Sequence[Image.Image]) -> Vectors:
        """Of images that went through `geometry`."""
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).to(self.device)
        with torch.inference_mode():
            found = self.features(pixels.permute(0, 3, 1, 2).float() / 255).float()
        return np.asarray(nn.functional.normalize(found).cpu(), np.float32)


def load_encoder(spec: ModelSpec, classes: ClassList, device: torch.device) -> Encoder:
    """The image tower of any model: what comes before its head; of a CLIP the embedding that it shares with texts.

    `classes` is what a supervised model predicts. Raises `InputError` as `models.load` does, and for a network whose
    head is no linear layer.
    """
    if spec.zero_shot:
        # The head is not needed: two texts as they are, not a thousand classes in eighty prompts.
        texts = ("a photo", "a drawing")
        classes = ClassList("encoder", texts, texts)
        spec = replace(spec, options=replace(spec.options, prompts="as-is", class_names=None))
    classifier = models.load(spec, classes, device)
    features = _features(classifier)
    with torch.inference_mode():
        width = features(probe_images(classifier)).shape[1]
    fits = bounded(classifier, BATCH, gradients=False, sharing=workers()).fits
    return Encoder(spec.text, classifier.fingerprint, width, classifier.geometry, features, device, fits)


def _features(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """Images as the classifier takes them -> (n, width)."""
    if isinstance(classifier.net, ZeroShot):
        classifier.net.forward = classifier.net.embed  # type: ignore[method-assign]
        return classifier
    seen: list[tuple[nn.Linear, Tensor]] = []
    linear = [module for module in classifier.net.modules() if isinstance(module, nn.Linear)]
    hooks = [m.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs[0]))) for m in linear]
    with torch.inference_mode():
        logits = classifier(probe_images(classifier))
    for hook in hooks:
        hook.remove()
    head = seen[-1][0] if seen else None
    if head is None or head.out_features < logits.shape[1] or seen[-1][1].ndim != 2:
        raise InputError(f"{classifier.name}: its head is no linear layer, so its features can't be told from it")

    def features(images: Tensor) -> Tensor:
        taken: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        try:
            classifier(images)
        finally:
            hook.remove()
        return taken[-1]

    return features
