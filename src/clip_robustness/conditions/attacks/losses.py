"""What attacks raise, and the direction in which it grows, in any precision of the model.

Losses take logits (n, classes) and labels int64 (n,) and give what grows along the steps, one number an image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The same as torch's, but with a tail: for an image that a model is sure of, torch's is 0 and its gradient that of
    the other classes alone, as soon as their probabilities vanish beside 1."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return F.softplus(_others(logits, labels).logsumexp(1) - own)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the best other class is above the label."""
    return _others(logits, labels).amax(1) - logits.gather(1, labels[:, None])[:, 0]


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.scatter(1, labels[:, None], -torch.inf)


def ascent(loss: Loss, logits: Tensor, labels: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The losses, (n,), and the gradients with respect to the images `seen` that the logits came from, each scaled by a
    positive number of its own: 0 only where no logit that matters depends on the image.

    What goes backwards through the model is scaled to 1 at most an image: the derivative of a small loss, far under
    what half precision can tell from 0, arrives all the same (loss scaling, Micikevicius et al. 2018, for each image).
    """
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        losses = loss(leaf, labels)
        (slope,) = torch.autograd.grad(losses.sum(), leaf)
    largest = slope.abs().amax(1, keepdim=True)
    (gradient,) = torch.autograd.grad(logits, seen, slope / largest.clamp_min(torch.finfo(slope.dtype).tiny))
    return losses.detach(), gradient
