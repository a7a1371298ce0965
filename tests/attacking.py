"""Run an attack on a batch of tensors."""

import numpy as np
import torch

from clip_robustness.conditions.attacks.loop import Task, run


def attack(victim, images, labels, method, eps, size=64, order=None, **options):
    """Adversarial images, predictions and the loop's own records, in the order of the images."""
    order = range(len(images)) if order is None else order
    tasks = [Task(i, images[i], int(labels[i]), eps, np.random.default_rng(i)) for i in order]
    done = {d.task.key: d for d in run(victim, method, tasks, size=size, **options)}
    found = [done[i] for i in sorted(done)]
    return torch.stack([d.image for d in found]), torch.tensor([d.prediction for d in found]), found
