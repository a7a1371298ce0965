"""What makes models faster must not change what they say."""

import copy

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import ModelWarning
from clip_robustness.models import (
    embedded,
    zero_shot,  # noqa: F401 (registers the architecture of mini:clip)
)
from clip_robustness.models.speed import fold_batch_norms

MINI = class_list("mini")


def norms(net):
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def with_statistics(net):
    """As after training: with fresh statistics a BatchNorm does nothing that could be got wrong."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return net.requires_grad_(False).eval()


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda: timm.create_model("test_resnet"), 96),
        (lambda: timm.create_model("tf_efficientnet_lite0"), 96),
        (lambda: torchvision.models.resnet18(), 96),
        (lambda: torchvision.models.vgg11_bn(), 64),
        (lambda: open_clip.create_model(embedded.CLIP_ARCHITECTURE).visual, 64),
    ],
    ids=["timm-resnet", "timm-efficientnet", "torchvision-resnet", "torchvision-vgg", "clip-resnet"],
)
def test_folding_takes_all_batch_norms_and_changes_rounding_alone(make, side):
    torch.manual_seed(0)  # rounding can turn a unit at its kink on or off
    net = with_statistics(make())
    images = torch.rand(2, 3, side, side, requires_grad=True)
    folded = fold_batch_norms(net, images.detach())
    assert norms(net) > 0
    assert norms(folded) == 0
    expected, got = net(images), folded(images)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))
    gradients = [torch.autograd.grad(logits.square().sum(), images)[0] for logits in (expected, got)]
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-4 * float(gradients[0].abs().max()))


class _Shared(nn.Module):
    """A convolution whose output is used twice, by its BatchNorm and by a shortcut around it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        hidden = self.conv(images)
        return (self.norm(hidden) + hidden).mean((2, 3))


def test_a_convolution_that_others_read_keeps_its_batch_norm():
    net = with_statistics(_Shared())
    before = copy.deepcopy(net.state_dict())
    assert fold_batch_norms(net, torch.rand(2, 3, 8, 8)) is net
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_network_without_batch_norm_stays_itself():
    net = timm.create_model("test_vit").eval()
    assert fold_batch_norms(net, torch.rand(1, 3, 160, 160)) is net


@pytest.mark.filterwarnings("ignore::clip_robustness.errors.ModelWarning")  # bf16 is slow on many a CPU
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_precision_is_an_option_that_counts_in_the_fingerprint(precision):
    images = torch.rand(4, 3, 64, 64)
    plain = models.load("mini:clip", MINI)
    other = models.load(f"mini:clip?precision={precision}", MINI)
    assert other.fingerprint != plain.fingerprint
    assert other.precision == precision
    assert other(images).dtype == torch.float32
    difference = (other(images) - plain(images)).abs().max()
    assert difference < 2
    assert (difference > 1e-4) == (precision == "bf16")  # no CPU has TF32


def test_an_option_that_slows_a_model_down_is_told(monkeypatch):
    times = iter([0.01, 0.05])
    monkeypatch.setattr("clip_robustness.models.speed._seconds_per_pass", lambda *_: next(times))
    with pytest.warns(ModelWarning, match=r"5.0 times as long"):
        models.load("mini:supervised?precision=bf16", MINI)


def test_a_model_is_compiled_when_asked_for(monkeypatch):
    """That a compiled model says the same is checked where its speed is measured: compiling takes half a minute."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    plain = models.load("mini:supervised", MINI)
    assert not compiled
    asked = models.load("mini:supervised?compile=true", MINI)
    assert compiled == [asked.net]
    assert plain.fingerprint != asked.fingerprint, "it rounds in another way"


def test_everything_of_a_classifier_moves_to_another_device():
    """On the meta device, which computes shapes alone, a tensor left behind on the CPU is an error."""
    for spec in ("mini:clip", "mini:supervised"):
        classifier = models.load(spec, MINI).to("meta")
        assert classifier(torch.rand(2, 3, 64, 64, device="meta")).shape == (2, 24)
