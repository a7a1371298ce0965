"""Make autoattack.npz: the small models of tests/small.py, and which pictures stand under the reference
implementation of AutoAttack (https://github.com/fra31/auto-attack, commit a392200), whose checkout is the argument.

python -m tests.data.make_autoattack_references PATH_OF_THE_CHECKOUT
"""

import contextlib
import io
import sys
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional as F

from tests.small import FACTS, pictures, untrained, wrapped

COUNT = 16
UNITS = {"cnn": (2, 4, 6), "cosine": (1, 2, 3)}
ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")


def trained(name):
    torch.manual_seed(0)
    net = untrained(name)
    images, labels = pictures(4800, "train")
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.01)
    for _ in range(25):
        for rows in torch.randperm(len(images)).split(64):
            # noise makes the small nets a little robust
            logits = net((images[rows] + 0.05 * torch.randn_like(images[rows]) - 0.5) / 0.25)
            logits = logits / 10 if name == "cosine" else logits
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= 0.85
    return net


def standing(victim, images, labels, eps, attacks):
    from autoattack import AutoAttack

    with contextlib.redirect_stdout(io.StringIO()):
        reference = AutoAttack(victim, norm="Linf", eps=eps, seed=0, verbose=False, device="cpu")
        reference.attacks_to_run = list(attacks)
        adversarial = reference.run_standard_evaluation(images, labels, bs=COUNT)
    with torch.no_grad():
        return (victim(adversarial).argmax(1) == labels).numpy()


def losses_of_a_run(victim, images, labels, eps, loss):
    """(101, n): of APGD's random start, whose numbers are numpy's, and after each of its iterations."""
    from autoattack.autopgd_base import APGDAttack_targeted

    drawn = [np.random.default_rng(i).random(images.shape[1:], np.float32) for i in range(len(images))]
    reference = APGDAttack_targeted(victim, eps=eps, device="cpu")
    reference.init_hyperparam(images)
    reference.loss, reference.y_target = loss, victim(images).argsort(1)[:, -2]
    seen = []
    reference.dlr_loss_targeted = kept(reference.dlr_loss_targeted, seen)
    with (
        patch("torch.rand", lambda _: torch.from_numpy(np.stack(drawn))),
        patch.object(torch.nn.CrossEntropyLoss, "forward", kept(torch.nn.CrossEntropyLoss.forward, seen)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        reference.attack_single_run(images, labels)
    return np.stack(seen)


def kept(loss, seen):
    def call(*args):
        values = loss(*args)
        seen.append(values.detach().numpy())
        return values

    return call


def distances(victim, images, labels):
    """(n,): of the smallest perturbations that FAB-T finds, which depend on no eps; inf where it finds none."""
    from autoattack.fab_pt import FABAttack_PT

    reference = FABAttack_PT(victim, eps=1.0, targeted=True, device="cpu")
    found = np.full(len(images), np.inf)
    for reference.target_class in range(2, 11):
        moved = (reference.attack_single_run(images, labels, is_targeted=True) - images).abs().amax((1, 2, 3)).numpy()
        found = np.where((moved > 0) & (moved < found), moved, found)
    return found


sys.path.insert(0, sys.argv[1])
facts = {}
images, labels = pictures(6 * COUNT)
for name, units in UNITS.items():
    net = trained(name)
    facts |= {f"{name}/{key}": value.numpy() for key, value in net.state_dict().items()}
    victim = wrapped(net, name)
    with torch.no_grad():
        right = (victim(images).argmax(1) == labels).nonzero().flatten()[:COUNT]
    some = images[right], labels[right]
    facts |= {f"{name}/pictures": right.numpy(), f"{name}/distances": distances(victim, *some)}
    for loss in ("ce", "dlr-targeted"):
        facts[f"{name}/losses-{loss}"] = losses_of_a_run(victim, *some, units[0] / 255, loss)
    for unit in units:
        for attacks in (("apgd-ce",), ("square",), ATTACKS):
            key = f"{name}/{unit}/{attacks[0] if len(attacks) == 1 else 'autoattack'}"
            facts[key] = standing(victim, *some, unit / 255, attacks)
            print(key, int(facts[key].sum()), flush=True)
np.savez_compressed(FACTS, **facts)
