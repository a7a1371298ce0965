"""Conditions whose images are sequences of frames: what makes them, and what they are scored by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_robustness.conditions.condition import DIFFICULTIES
from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.conditions.perturbations import perturb
from clip_robustness.conditions.scoring import one_behind
from clip_robustness.conditions.source import Source
from clip_robustness.datasets.mp4 import read_video
from clip_robustness.datasets.pixels import Pixels, squeezed
from clip_robustness.metrics.benchmark import NOISE_SEQUENCES
from clip_robustness.metrics.flips import flip_probabilities, top5_distances
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import check_shape, known, to_tensor

_LARGER = 8 / 7
"""Sequences are made from images whose shorter side is so much larger than the frames: 256 px for 224."""
_TOP = 5


def drawn(source: Source) -> Pixels:
    """Made on the fly: uint8 RGB (frames, side, side, 3)."""
    name, difficulty = str(source.condition["perturbation"]), int(source.condition["difficulty"])
    image = larger(source.sample.image(), round(source.side * _LARGER))
    return perturb(image, name, source.rng, side=source.side, difficulty=difficulty)


def read(source: Source) -> Pixels:
    """The published files: uint8 RGB (frames, side, side, 3)."""
    return np.stack([squeezed(Image.fromarray(frame), source.side) for frame in read_video(source.sample.path)])


def larger(image: Image.Image, shorter: int) -> Pixels:
    """The whole image with this shorter side, uint8 RGB."""
    scale = shorter / min(image.size)
    size = max(shorter, round(image.width * scale)), max(shorter, round(image.height * scale))
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def flips(context: Context, batches: Batches) -> Iterator[Answers]:
    """How often a prediction changes along a sequence, and its five best classes, at every step between frames.

    An image whose frames are not all right has the class that they are mistaken for most often.
    """
    noise = context.condition["perturbation"] in NOISE_SEQUENCES
    for batch, best in one_behind((batch, _best(context, batch)) for batch in batches):
        ends = np.cumsum([len(pixels) for _, pixels in batch])[:-1]
        classes = best.cpu().numpy()
        known(context.victim, classes[:, 0].tolist())
        answers = []
        for top, (sample, _) in zip(np.split(classes, ends), batch, strict=True):
            wrong = top[:, 0][~np.isin(top[:, 0], sample.accepted)]
            measures = {}
            for step in DIFFICULTIES:
                measures[f"flips-{step}"] = float(flip_probabilities(top[None, :, 0], noise=noise, step=step)[0])
                measures[f"top5-{step}"] = float(top5_distances(top[None], noise=noise, step=step)[0])
            found = int(np.bincount(wrong).argmax()) if len(wrong) else sample.label
            answers.append((sample, Prediction(found, measures)))
        yield answers


@torch.inference_mode()
def _best(context: Context, batch: Batch) -> Tensor:
    """The five best classes of all frames, int64 (frames, 5), of fewer where there are no more; -1 as `top_classes`."""
    frames, found = np.concatenate([pixels for _, pixels in batch]), []
    for start in range(0, len(frames), context.size):
        images = to_tensor(frames[start : start + context.size], context.device)
        check_shape(context.victim, images)
        logits = context.victim(images)
        best = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices
        found.append(best.masked_fill(~logits.isfinite().all(1, keepdim=True), -1))
    return torch.cat(found)
