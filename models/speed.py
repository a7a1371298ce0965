"""Faster forward and backward passes: what is always done because it changes nothing but rounding, and what a user asks
for with options of the spec."""

from __future__ import annotations

import copy
import time
import warnings
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clip_robustness.errors import ModelWarning
from clip_robustness.models.classifier import Classifier, probe, probe_images
from clip_robustness.models.options import Options

_SLOWER = 1.2


def fold_batch_norms(net: nn.Module, images: Tensor) -> nn.Module:
    """The same function with each BatchNorm folded into the convolution before it; `net` itself where none can be.

    `images` is a batch that the network takes. Which convolution feeds which BatchNorm shows in a forward pass; that
    nothing else takes the convolution's output shows in the folded network's, which must agree with the original.
    """
    with torch.inference_mode():
        pairs, expected = _pairs(net, images)
    if not pairs:
        return net
    folded = copy.deepcopy(net)
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _absorb(conv, norm)
        folded.set_submodule(
            norm_name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        )
    with torch.inference_mode():
        agrees = torch.allclose(folded(images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    return folded if agrees else net


def _pairs(net: nn.Module, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """(convolution, BatchNorm) by name, where the one's output is the other's input, and the network's output."""
    made_by: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept so that none gets another's id
    pairs: list[tuple[str, str]] = []
    handles: list[RemovableHandle] = []

    def note_output(name: str) -> Any:
        return lambda _module, _inputs, output: made_by.__setitem__(id(output), (name, output))

    def note_input(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if (source := made_by.get(id(inputs[0]))) is not None:
                pairs.append((source[0], name))

        return hook

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(note_output(name)))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(note_input(name)))
    try:
        output = net(images)
    finally:
        for handle in handles:
            handle.remove()
    convs, norms = [conv for conv, _ in pairs], [norm for _, norm in pairs]
    return [p for p in pairs if convs.count(p[0]) == 1 and norms.count(p[1]) == 1], output


def _absorb(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean.double()
    bias = bias * factor + (norm.bias.double() if norm.bias is not None else 0)
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * factor.view(-1, 1, 1, 1)).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


def tune(classifier: Classifier, options: Options) -> None:
    """Make a classifier that works faster, as far as that is safe, and then as the options ask.

    Warns of an option that makes it slower.
    """
    if marks := [
        name for name, unusual in (("strided", not options.channels_last), ("compiled", options.compile)) if unusual
    ]:
        classifier.fingerprint = "-".join([classifier.fingerprint, *marks])  # they round in another way
    images = probe_images(classifier)
    classifier.net = fold_batch_norms(classifier.net, images)
    if options.channels_last:
        classifier.to(memory_format=torch.channels_last)
    if options.precision == "fp32" and not options.compile:
        return
    before = _seconds_per_pass(classifier, images)
    classifier.precision = options.precision
    if options.precision != "fp32":
        classifier.fingerprint += f"-{options.precision}"
    if options.compile:
        classifier.net.compile()
    probe(classifier)
    ratio = _seconds_per_pass(classifier, images) / before
    if ratio > _SLOWER:
        warnings.warn(
            f"{classifier.name}: on this device its precision and compile options make a forward pass take {ratio:.1f} "
            "times as long",
            ModelWarning,
            stacklevel=2,
        )


def _seconds_per_pass(classifier: Classifier, images: Tensor) -> float:
    """The fastest of three forward passes, after one to warm up."""
    times = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            classifier(images).sum().item()  # reading a value waits for the device
            times.append(time.perf_counter() - began)
    return min(times[1:])
