"""The attacks: parity with torchattacks, and what every one of them must keep to."""

import copy
from dataclasses import fields, replace

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from foolbox.attacks import L2DeepFoolAttack, LinfDeepFoolAttack
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from clip_robustness import models
from clip_robustness.conditions.attacks import gradient
from clip_robustness.conditions.attacks.apgd import APGD
from clip_robustness.conditions.attacks.deepfool import DeepFool
from clip_robustness.conditions.attacks.fab import FAB
from clip_robustness.conditions.attacks.gradient import BIM, FGSM, MIM, PGD, SignSteps, bim_steps, view, viewed
from clip_robustness.conditions.attacks.loop import Attacked, Task, run
from clip_robustness.conditions.attacks.losses import margin
from clip_robustness.conditions.attacks.runners.in_loop import rounded
from clip_robustness.conditions.attacks.score import NES, SPSA
from clip_robustness.conditions.attacks.square import Square
from clip_robustness.conditions.attacks.transfer import CRAFTED
from clip_robustness.conditions.attacks.universal import universal
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.mini.sets import picture
from clip_robustness.models import InputError
from clip_robustness.models.classifier import Classifier, predict, to_tensor
from tests.attacking import attack

METHODS = {
    "fgsm": FGSM,
    "bim": BIM,
    "mim": MIM,
    "dim": CRAFTED["dim"],
    "deepfool": DeepFool(),
    "nes": replace(NES, pairs=4),
    "spsa": replace(SPSA, pairs=4),
    "pgd": replace(PGD, count=6, starts=2),
    "apgd-ce": APGD(count=12),
    "apgd-t": APGD(targets=2, count=8),
    "fab": FAB(targets=2, count=6),
    "square": Square(count=20),
}


@pytest.fixture(scope="module")
def victim():
    return models.load("mini:supervised", class_list("mini"))


@pytest.fixture(scope="module")
def batch():
    drawn = [picture("imagenet", i) for i in range(48)]
    images = to_tensor(np.stack([pixels for pixels, _ in drawn]), torch.device("cpu"))
    return images, torch.tensor([label for _, label in drawn])


def peer(victim, name, eps, steps):
    if name == "fgsm":
        return torchattacks.FGSM(victim, eps=eps)
    if name == "bim":
        return torchattacks.BIM(victim, eps=eps, alpha=0.15 * eps, steps=steps)
    if name == "mim":
        return torchattacks.MIFGSM(victim, eps=eps, alpha=0.15 * eps, steps=steps, decay=1.0)
    return torchattacks.DIFGSM(victim, eps=eps, alpha=0.15 * eps, steps=steps, decay=1.0, diversity_prob=0.5)


class _Slope(nn.Module):
    """Two logits, the second grows with every pixel: who follows the loss goes straight up, and nobody is fooled."""

    def forward(self, images):
        up = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(up), up - 10], dim=1)


@pytest.fixture(scope="module")
def slope():
    """Never fooled, its gradient has one sign everywhere."""
    return Classifier(
        _Slope(), name="plain", classes=ClassList("two", ("a", "b"), ("a", "b")), image_size=8,
        geometry=lambda image: image, mean=(0, 0, 0), std=(1, 1, 1), fingerprint="plain",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "steps", "size"),
    [
        (FGSM, 1, 1.0),
        (BIM, 10, 0.15),
        (MIM, 20, 0.15),
        (CRAFTED["bim"], 10, 0.15),
        (CRAFTED["mim"], 10, 0.15),
        (replace(NES, pairs=4), 10, 0.15),
        (replace(SPSA, pairs=4), 10, 0.15),
    ],
)
def test_steps_are_as_many_and_as_long_as_published(slope, method, steps, size):
    """At 8/255, in the middle of the range: the first step is a share of eps long, and the last ends at the surface."""
    image = torch.full((1, 3, 8, 8), 0.5)
    moved, _, (done,) = attack(slope, image, [0], method, 8 / 255)
    assert done.steps == steps
    assert (moved - image).abs().amax() == pytest.approx(8 / 255, rel=1e-4)
    one = replace(method, count=1)
    moved, _, _ = attack(slope, image, [0], one, 8 / 255)
    assert (moved - image).abs().amin() == pytest.approx(size * 8 / 255, rel=1e-3)


def test_pgd_starts_five_times_and_takes_forty_steps_each(slope):
    """By eps / 4, each start counted as a step, too."""
    _, _, (done,) = attack(slope, torch.full((1, 3, 8, 8), 0.5), [0], PGD, 8 / 255)
    assert done.steps == 5 * (1 + 40)
    moved, _, _ = attack(slope, torch.full((1, 3, 8, 8), 0.5), [0], replace(PGD, starts=1, count=1), 8 / 255)
    start, _, _ = attack(slope, torch.full((1, 3, 8, 8), 0.5), [0], replace(PGD, starts=1, count=0), 8 / 255)
    assert (moved - start).amin() >= 0
    assert (moved - start).amax() == pytest.approx(2 / 255, rel=1e-3)


def test_a_universal_perturbation_stays_in_its_ball(victim, batch):
    images, labels = batch
    found = universal(victim, images, labels, 4 / 255, np.random.default_rng(0))
    by_fives = universal(victim, images, labels, 4 / 255, np.random.default_rng(0), size=5)
    assert ((found - by_fives).abs() > 1e-4).float().mean() < 0.02, "but for rounding, where a gradient is nearly 0"
    assert found.abs().max() <= 4 / 255 + 1e-7
    assert (found.abs() > 0.99 * 4 / 255).float().mean() > 0.2


@given(st.floats(0.01, 0.99), st.one_of(st.sampled_from([-1.0, 1.0]), st.floats(-1, 1)), st.integers(1, 16))
def test_rounded_images_stay_in_the_ball(clean, share, units):
    """As near to the perturbed image as 256 levels allow, and never farther from the clean one than eps."""
    eps = units / 255
    image, moved = torch.full((3, 2, 2), clean), torch.full((3, 2, 2), clean + share * eps).clamp(0, 1)
    done = Attacked(Task(0, image, 0, eps), BIM, moved, 1, 1, 1, zero_gradient=False)
    found = rounded(done)
    assert (found - image).abs().max() <= eps + 1e-6
    assert (found - moved).abs().max() < 1 / 255 + 1e-6
    assert (255 * found - (255 * found).round()).abs().max() < 1e-3
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("name", ["fgsm", "bim", "mim"])
@pytest.mark.parametrize("units", [0.25, 1, 8])
def test_parity_with_torchattacks(victim, batch, name, units):
    """The same adversarial images when early stopping is off, and as few right ones with it.

    In double precision: in single precision a gradient near zero has another sign in another batch.
    """
    victim, images, labels = copy.deepcopy(victim).double(), batch[0][:8].double(), batch[1][:8]
    method, eps = METHODS[name], units / 255
    theirs = peer(victim, name, eps, method.steps(eps))(images, labels)
    ours, predictions, _ = attack(victim, images, labels, method, eps, stop_early=False)
    assert torch.allclose(ours, theirs, atol=1e-6)
    with torch.no_grad():
        clean = victim(images).argmax(1)
        assert torch.equal(predictions, victim(theirs).argmax(1))
    _, stopped, _ = attack(victim, images, labels, method, eps)
    assert (stopped == labels).sum() <= ((predictions == labels) & (clean == labels)).sum()


@pytest.mark.parametrize("name", ["fgsm", "bim", "mim"])
@pytest.mark.parametrize("units", [1, 2, 4])
def test_robust_accuracy_within_one_image_of_foolbox(victim, batch, name, units):
    images, labels = batch
    theirs = {
        "fgsm": foolbox.attacks.LinfFastGradientAttack(random_start=False),
        "bim": foolbox.attacks.LinfBasicIterativeAttack(
            rel_stepsize=0.15, steps=bim_steps(units / 255), random_start=False
        ),
        "mim": foolbox.attacks.MIFGSM(momentum=1.0, rel_stepsize=0.15, steps=20, random_start=False),
    }[name]
    wrapped = foolbox.PyTorchModel(victim, bounds=(0, 1), device="cpu")
    _, _, fooled = theirs(wrapped, images, labels, epsilons=units / 255)
    _, predictions, _ = attack(victim, images, labels, METHODS[name], units / 255)
    assert abs(int((predictions == labels).sum()) - int((~fooled).sum())) <= 1


@pytest.mark.parametrize(("norm", "theirs"), [("linf", LinfDeepFoolAttack), ("l2", L2DeepFoolAttack)])
def test_deepfool_finds_perturbations_as_small_as_foolboxs(victim, batch, norm, theirs):
    """Which goes 1e-4 further a step in the linf norm, in pixels, not logits: a fiftieth of what it takes here."""
    images, labels = batch[0][:12], batch[1][:12]
    wrapped = foolbox.PyTorchModel(victim, bounds=(0, 1), device="cpu")
    found, _, fooled = theirs(steps=50, candidates=10, overshoot=0.02)(wrapped, images, labels, epsilons=None)
    ours, predictions, done = attack(victim, images, labels, DeepFool(norm), 1.0)
    assert fooled.all()
    assert (predictions != labels).all()
    assert max(each.steps for each in done) > 3
    own, other = ((moved - images).flatten(1).norm(dim=1, p=np.inf if norm == "linf" else 2) for moved in (ours, found))
    assert own.tolist() == pytest.approx(other.tolist(), rel=0.03 if norm == "linf" else 0.005)


def test_parity_of_diverse_inputs_given_the_same_random_numbers(victim, batch):
    """Theirs draws for a whole batch: one image at a time, with our numbers put in the place of theirs."""
    victim, images, labels = copy.deepcopy(victim).double(), batch[0].double()[:4], batch[1][:4]
    ours, _, _ = attack(victim, images, labels, METHODS["dim"], 8 / 255, stop_early=False)
    for i in range(4):
        theirs = _their_dim(victim, images[i : i + 1], labels[i : i + 1], np.random.default_rng(i))
        assert torch.allclose(ours[i], theirs[0], atol=1e-6)


def _their_dim(victim, image, label, rng):
    """DIFGSM of torchattacks, whose transformation draws width, top and left in this order and then the coin."""
    theirs = peer(victim, "dim", 8 / 255, 10)

    def transformed(x):
        side = x.shape[-1]
        small = int(rng.integers(int(side * 0.9), side))
        left, top = (int(rng.integers(0, side - small)) for _ in range(2))
        if rng.random() >= 0.5:
            return x
        rescaled = torch.nn.functional.interpolate(x, size=[small, small], mode="bilinear", align_corners=False)
        return torch.nn.functional.pad(rescaled, [left, side - small - left, top, side - small - top], value=0)

    theirs.input_diversity = transformed
    return theirs(image, label)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=3)
@given(units=st.floats(0.1, 64))
def test_the_ball_the_range_and_what_is_wrong_when_clean(victim, batch, name, units):
    images, labels = batch[0][:6], batch[1][:6].clone()
    labels[::6] = (labels[::6] + 1) % 24
    eps = units / 255 if name != "deepfool" else 1.0
    adversarial, predictions, found = attack(victim, images, labels, METHODS[name], eps)
    assert (adversarial - images).abs().max() <= eps + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    with torch.no_grad():
        wrong = victim(images).argmax(1) != labels
        again = victim(adversarial).argmax(1)
    assert torch.equal(adversarial[wrong], images[wrong])
    assert all(d.passes == 1 and d.steps == 0 for d, w in zip(found, wrong, strict=True) if w)
    if name != "dim":  # which looks at other images than it returns, but for the last
        assert (predictions != again).sum() <= 1


@pytest.mark.parametrize("name", METHODS)
def test_results_depend_neither_on_batch_size_nor_on_order(victim, batch, name):
    images, labels = batch[0][:4].double(), batch[1][:4]
    victim = copy.deepcopy(victim).double()
    eps = 1 / 255 if name != "deepfool" else 1.0
    together, predictions, found = attack(victim, images, labels, METHODS[name], eps)
    apart, others, again = attack(victim, images, labels, METHODS[name], eps, size=3, order=range(3, -1, -1))
    assert torch.allclose(together, apart, atol=1e-9)
    assert torch.equal(predictions, others)
    assert [d.steps for d in found] == [d.steps for d in again]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "deepfool"])
def test_without_eps_nothing_changes(victim, batch, name):
    images, labels = batch[0][:4], batch[1][:4]
    adversarial, _, _ = attack(victim, images, labels, METHODS[name], 0.0)
    assert torch.equal(adversarial, images)


def test_each_image_has_its_own_eps(victim, batch):
    images, labels = batch[0][:2].repeat(1, 1, 1, 1), batch[1][:2]
    tasks = [Task(i, images[i], int(labels[i]), eps) for i, eps in enumerate((1 / 255, 4 / 255))]
    for done in run(victim, FGSM, tasks, size=2):
        assert (done.image - done.task.image).abs().max() <= done.task.eps + 1e-7
        assert (done.image - done.task.image).abs().max() >= 0.9 * done.task.eps


def test_accuracy_falls_with_eps_and_iterations_are_not_weaker_than_one_step(victim, batch):
    images, labels = batch[0][:24], batch[1][:24]
    right = {
        (name, units): int((attack(victim, images, labels, METHODS[name], units / 255)[1] == labels).sum())
        for name in ("fgsm", "bim", "mim")
        for units in (0.25, 1, 2, 4, 8)
    }
    for name in ("bim", "mim"):
        curve = [right[name, units] for units in (0.25, 1, 2, 4, 8)]
        assert curve == sorted(curve, reverse=True)
        assert all(right[name, units] <= right["fgsm", units] for units in (0.25, 1, 2, 4, 8))
    assert right["bim", 8] == 0


@pytest.mark.parametrize(("units", "count"), [(0.25, 7), (1, 7), (4, 7), (8, 10), (16, 20)])
def test_bim_has_the_benchmarks_steps_and_always_reaches_the_surface_of_the_ball(units, count):
    assert BIM.steps(units / 255) == count
    assert BIM.steps(units / 255) * BIM.size >= 1


def test_the_batch_is_kept_full_and_no_pass_is_wasted(victim, batch, monkeypatch):
    """Forward passes of all batches together are what the images say they need, and one more at most for each step that
    is taken, for its gradient; only the last batches are not full."""
    sizes = []
    forward = type(victim).forward
    monkeypatch.setattr(type(victim), "forward", lambda self, x: (sizes.append(len(x)), forward(self, x))[1])
    _, _, found = attack(victim, *batch, BIM, 1 / 255, size=8)
    needed = sum(d.passes for d in found)
    assert needed <= sum(sizes) <= needed + sum(d.steps for d in found)
    assert sum(sizes) >= 0.9 * 8 * (len(sizes) - max(d.passes for d in found))


class Readings(TorchDispatchMode):
    """Counts the numbers that are read from the device, each of which waits for it."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_more_is_read_back_for_many_images_than_for_few(victim, batch):
    def readings(count):
        tasks = [Task(i, image, int(label), 8 / 255) for i, (image, label) in enumerate(zip(*batch, strict=True))]
        with Readings() as seen:
            assert len(list(run(victim, FGSM, tasks[:count], size=48))) == count
        return seen.count

    assert readings(48) == readings(8)


def test_the_gradient_of_diverse_images_costs_as_much_an_image_in_any_batch(victim, batch):
    class Made(TorchDispatchMode):
        values = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            self.values += sum(part.numel() for part in (out if isinstance(out, tuple | list) else [out]) if
                               isinstance(part, torch.Tensor))  # fmt: skip
            return out

    def made(count):
        method = replace(CRAFTED["dim"], count=1)
        tasks = [Task(i, batch[0][i], int(batch[1][i]), 1e-4, np.random.default_rng(0)) for i in range(count)]
        with Made() as seen:
            list(run(victim, method, tasks, size=count, stop_early=False))
        return seen.values / count

    assert made(32) < 1.1 * made(4)


@pytest.mark.parametrize("name", METHODS)
def test_only_who_says_so_leaves_the_ball_or_does_without_gradients(victim, batch, name, monkeypatch):
    """On its way: at the end nobody is outside of the ball."""
    method, forward, traced, outside = METHODS[name], type(victim).forward, [], []

    def seen(self, images):
        traced.append(images.requires_grad)
        return forward(self, images)

    class Watched(type(method)):
        def look(self, classifier, batch):
            outside.append(bool(((batch.now - batch.clean).abs() > batch.eps + 1e-6).any()))
            return super().look(classifier, batch)

    monkeypatch.setattr(type(victim), "forward", seen)
    watched = Watched(**{field.name: getattr(method, field.name) for field in fields(method)})
    attack(victim, batch[0][:2], batch[1][:2], watched, 0.5 / 255)
    assert method.blind == (not any(traced))
    assert method.wanders == any(outside)


@pytest.mark.parametrize("name", ["nes", "spsa"])
def test_score_based_attacks_lower_the_score_by_pairs_of_queries(victim, batch, name):
    images, labels = batch[0][:4], batch[1][:4]
    adversarial, _, found = attack(victim, images, labels, METHODS[name], 8 / 255)
    assert all(d.passes == 1 + d.steps * 9 for d in found)
    with torch.no_grad():
        own = [victim(x).log_softmax(1).gather(1, labels[:, None]).mean() for x in (images, adversarial)]
    assert own[1] < own[0]


class _Odd(torch.nn.Module):
    """A model of a side that is odd, which counts the images of its passes."""

    def __init__(self):
        super().__init__()
        self.seen, self.head = [], torch.nn.Linear(3 * 7 * 7, 5)

    def forward(self, images):
        self.seen.append(len(images))
        return self.head(images.flatten(1))


@pytest.fixture
def odd():
    torch.manual_seed(0)
    grey = {"geometry": lambda image: image, "mean": [0.5] * 3, "std": [0.5] * 3, "fingerprint": "0"}
    classes = ClassList("five", tuple("abcde"), tuple("abcde"))
    return Classifier(_Odd(), name="odd", classes=classes, image_size=7, **grey)


@pytest.mark.parametrize("method", [NES, SPSA])
def test_queries_of_many_images_fill_batches_and_depend_on_none(odd, method):
    images = torch.rand(6, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = odd(images).argmax(1)
    found = {}
    for queries, size in ((4, 6), (64, 6), (6, 2), (6, 1)):
        one = replace(method, pairs=5, count=1, queries=queries)
        found[queries, size], _, _ = attack(odd, images, labels, one, 1e-4, size=size)
    first, *others = found.values()
    assert all(torch.equal(first, other) for other in others)
    odd.net.seen.clear()
    attack(odd, images, labels, replace(method, pairs=5, count=1, queries=8), 1e-4, size=6)
    assert odd.net.seen == [6, *[8] * 7, 4, 6]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_deepfool_goes_just_beyond_the_nearest_boundary_of_a_linear_model(odd, norm, classes):
    """A step, 1.02 times as far as to where the nearest of the best rivals is 1e-4 above the label; in this norm, its
    dual length being that of the difference of the classes' weights. It takes a pass to look, one for the gradients and
    one to see that it fools."""
    head = odd.double().net.head
    head.weight[:2] *= 0.3  # so that the second best is not always the nearest
    images = 0.4 + 0.2 * torch.rand(8, 3, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        best = odd(images).topk(min(classes, 5), dim=1)
    moved, predictions, found = attack(odd, images, best.indices[:, 0], DeepFool(norm, classes=classes), 1.0)
    nearest = []
    for image, logits, order, now in zip(images, best.values, best.indices, moved, strict=True):
        slopes = (2 * (head.weight[order[1:]] - head.weight[order[0]])).view(-1, 3, 7, 7)  # of the images: std 0.5
        lengths = slopes.flatten(1).norm(dim=1, p=1 if norm == "linf" else 2)
        distances = (logits[0] - logits[1:] + 1e-4) / lengths
        at = int(distances.argmin())
        along = slopes[at].sign() if norm == "linf" else slopes[at] / lengths[at]
        assert torch.allclose(now, image + 1.02 * distances[at] * along, atol=1e-9)
        nearest.append(at)
    assert predictions.tolist() == best.indices[range(8), 1 + torch.tensor(nearest)].tolist()
    assert (max(nearest) > 0) == (classes > 2)
    assert all((done.steps, done.passes) == (1, 3) for done in found)


def test_deepfool_gives_up_after_fifty_steps(slope):
    _, _, (done,) = attack(slope, torch.full((1, 3, 8, 8), 0.5), [0], DeepFool(), 1.0)
    assert (done.steps, done.passes, done.zero_gradient) == (50, 101, False)


@pytest.mark.parametrize("method", [NES, SPSA])
def test_steps_go_along_the_sum_of_what_pairs_of_queries_find(odd, monkeypatch, method):
    """The second of each pair is as far on the other side of the image; a direction counts by how much further the best
    other class is ahead on its side."""
    images, seen = 0.4 + 0.2 * torch.rand(1, 3, 7, 7, generator=torch.Generator().manual_seed(0)), []

    def forward(normalised):
        seen.append(0.5 * normalised + 0.5)
        return odd.net.head(normalised.flatten(1))

    monkeypatch.setattr(odd.net, "forward", forward)
    labels = torch.tensor(predict(odd, images))
    moved, _, _ = attack(odd, images, labels, replace(method, count=1, pairs=40, queries=20), 0.01)
    blocks = [block.chunk(2) for block in seen[2:6]]
    assert all(torch.allclose(above - images, images - below, atol=1e-6) for above, below in blocks)
    offsets, others = (torch.cat(sides) for sides in zip(*blocks, strict=True))
    directions = offsets - images
    assert directions.std() == pytest.approx(0.001, rel=0.05)
    assert (directions.abs().std() < 1e-6) == (method is SPSA)
    with torch.no_grad():
        above, below = (margin(odd(images), labels.expand(40)) for images in (offsets, others))
    total = ((above - below)[:, None, None, None] * directions).sum(0)
    clear = total.abs() > 1e-3 * total.abs().max()
    assert torch.allclose((moved[0] - images[0])[clear], (0.15 * 0.01 * total.sign())[clear], atol=1e-6)


def test_vanishing_gradients_are_noted(victim, batch):
    masked = copy.deepcopy(victim)
    masked.net = torch.nn.Sequential(masked.net, _Rounded())
    _, _, found = attack(masked, *batch, BIM, 8 / 255)
    assert any(d.zero_gradient for d in found)
    _, _, found = attack(victim, *batch, BIM, 8 / 255)
    assert not any(d.zero_gradient for d in found)


class _Rounded(torch.nn.Module):
    def forward(self, logits):
        return (20 * logits).round()


def test_diverse_images_are_smaller_or_the_same(batch):
    image = batch[0][:1]
    sizes = set()
    for seed in range(40):
        shown = viewed(image, view(np.random.default_rng(seed), 64))
        assert shown.shape == image.shape
        sizes.add(int((shown[0].abs().sum(0).sum(0) > 0).sum()))
    assert min(sizes) >= int(64 * 0.9)
    assert max(sizes) == 64
    assert len(sizes) > 3


@pytest.mark.parametrize(("chosen", "a_step"), [(None, 1), ((60, 0, 0), 2)])
def test_an_image_that_is_shown_as_it_is_need_not_be_looked_at_twice(victim, batch, monkeypatch, chosen, a_step):
    """To see whether it fools, and for its gradient."""
    monkeypatch.setattr(gradient, "view", lambda rng, side: chosen)
    images, labels = batch
    tasks = [
        Task(i, image, label, 0.01 / 255, np.random.default_rng(i))
        for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True))
    ]
    survived = [done for done in run(victim, SignSteps(3, diverse=True), tasks, size=8) if not done.fooled]
    assert survived
    assert {done.passes for done in survived} == {3 * a_step + 1}


def test_images_outside_the_unit_interval_are_refused(victim, batch):
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        attack(victim, batch[0] * 255, batch[1], FGSM, 8 / 255)
