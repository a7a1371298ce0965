"""Two small trained classifiers of the drawn world at 16 px, whose attacks take milliseconds.

`cnn` has plain logits, `cosine` unit vectors and a logit scale of 100, as OpenAI's CLIPs have. Their weights are in
data/autoattack.npz, with what the reference implementation of AutoAttack made of them.
"""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from clip_robustness.datasets.classes import class_list
from clip_robustness.mini.sets import picture
from clip_robustness.models.classifier import Classifier, to_tensor
from tests import DATA

FACTS = DATA / "autoattack.npz"
MINI = class_list("mini")
SIDE = 16


class Cosine(nn.Module):
    """Logit scale x cosine to each class's vector."""

    def __init__(self, width, classes, scale=100.0):
        super().__init__()
        self.head, self.scale = nn.Parameter(torch.randn(classes, width)), scale

    def forward(self, hidden):
        return self.scale * F.linear(F.normalize(hidden, dim=1), F.normalize(self.head, dim=1))


def untrained(name):
    act, head = (nn.ReLU, nn.Linear) if name == "cnn" else (nn.GELU, Cosine)
    body = nn.Conv2d(3, 12, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), act()
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(384, 32), act(), head(32, len(MINI)))


def wrapped(net, name, classes=MINI):
    return Classifier(
        net, name=name, classes=classes, image_size=SIDE, geometry=lambda image: image, mean=(0.5,) * 3,
        std=(0.25,) * 3, fingerprint=name,
    )  # fmt: skip


def load(name):
    net = untrained(name)
    with np.load(FACTS) as facts:
        net.load_state_dict({key: torch.from_numpy(facts[f"{name}/{key}"]) for key in net.state_dict()})
    return wrapped(net, name)


@cache
def pictures(count, split="imagenet"):
    """Images float (count, 3, 16, 16), and labels."""
    drawn = [picture(split, i) for i in range(count)]
    images = to_tensor(np.stack([pixels for pixels, _ in drawn]), torch.device("cpu"))
    return F.avg_pool2d(images, images.shape[-1] // SIDE).contiguous(), torch.tensor([label for _, label in drawn])
