"""AutoAttack: parity of its attacks with the reference implementation on two small models, and their parts."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clip_robustness.conditions.attacks.apgd import APGD, APGD_CE, APGD_T, checkpoints, targeted_dlr
from clip_robustness.conditions.attacks.autoattack import STANDARD
from clip_robustness.conditions.attacks.fab import FAB_T, to_plane
from clip_robustness.conditions.attacks.gradient import PGD
from clip_robustness.conditions.attacks.loop import Task, run, run_in_order
from clip_robustness.conditions.attacks.losses import cross_entropy, margin
from clip_robustness.conditions.attacks.square import SQUARE, Square
from clip_robustness.conditions.attacks.turns import in_turn
from clip_robustness.datasets.classes import ClassList
from tests import small

UNITS = {"cnn": (2, 4, 6), "cosine": (1, 2, 3)}


@pytest.fixture(scope="module", params=["cnn", "cosine"])
def case(request):
    """A name, its classifier, images that it gets right, their labels, and the reference's facts."""
    with np.load(small.FACTS) as facts:
        known = {key.removeprefix(f"{request.param}/"): facts[key] for key in facts if key.startswith(request.param)}
    images, labels = small.pictures(1 + int(known["pictures"].max()))
    return request.param, small.load(request.param), images[known["pictures"]], labels[known["pictures"]], known


def tasks(images, labels, eps):
    radii = eps if isinstance(eps, np.ndarray) else [eps] * len(images)
    return [
        Task(i, image, int(label), float(radius), np.random.default_rng(i))
        for i, (image, label, radius) in enumerate(zip(images, labels, radii, strict=True))
    ]


def standing(done):
    found = {d.task.key: not d.fooled for d in done}
    return np.array([found[i] for i in sorted(found)])


def test_robust_accuracy_within_one_image_of_the_reference(case):
    """The worst case of the four, image by image, at three eps: of the first images that fall there, and of one that
    stands, which takes all steps of all four."""
    name, victim, images, labels, known = case
    chosen = [
        (units, i)
        for units in UNITS[name]
        for stands, count in ((True, 1), (False, 4))
        for i in (known[f"{units}/autoattack"] == stands).nonzero()[0][:count]
    ]
    rows, eps = [i for _, i in chosen], np.array([units / 255 for units, _ in chosen])
    ours = standing(in_turn(victim, STANDARD, tasks(images[rows], labels[rows], eps), size=len(rows)))
    theirs = np.array([known[f"{units}/autoattack"][i] for units, i in chosen])
    assert 0 < theirs.sum() < len(theirs)
    assert (ours != theirs).sum() <= 1


def test_apgd_alone_within_one_image_of_the_reference(case):
    name, victim, images, labels, known = case
    for units in UNITS[name]:
        ours = standing(run(victim, APGD_CE, tasks(images, labels, units / 255), size=16))
        assert abs(ours.sum() - known[f"{units}/apgd-ce"].sum()) <= 1


@pytest.mark.parametrize("loss", ["ce", "dlr-targeted"])
def test_the_losses_along_a_run_of_apgd_are_the_references(case, loss):
    """Of all images, from the same random starts, after each of the hundred iterations: momentum, checkpoints, step
    sizes and the way back to the best point have all to be right."""
    name, victim, images, labels, known = case
    seen = []

    class Watched(APGD):
        def _step(self, batch, rows, losses, gradient):
            seen.append(losses.numpy())
            return super()._step(batch, rows, losses, gradient)

    method = Watched(targets=int(loss != "ce"))
    list(run(victim, method, tasks(images, labels, UNITS[name][0] / 255), size=16, stop_early=False))
    ours, theirs = np.stack(seen), known[f"losses-{loss}"]
    assert len(ours) == 100
    assert np.isclose(ours, theirs[:100], rtol=1e-2, atol=1e-4).mean() > 0.95


def test_fab_fools_from_the_references_distance_on(case):
    """Without random starts its path depends on no eps: what it takes is the smallest perturbation on it."""
    _, victim, images, labels, known = case
    images, labels, far = images[:6], labels[:6], known["distances"][:6]
    assert np.isfinite(far).all()
    assert standing(run(victim, FAB_T, tasks(images, labels, 1.02 * far), size=16)).sum() <= 1
    assert standing(run(victim, FAB_T, tasks(images, labels, 0.98 * far), size=16)).sum() >= len(far) - 1


def test_each_attack_sees_what_the_ones_before_it_left_standing(case):
    name, victim, images, labels, _ = case
    images, labels = images[:6], labels[:6].clone()
    labels[0] = (labels[0] + 1) % 24
    targeted = replace(APGD_T, targets=2)
    done = list(in_turn(victim, (APGD_CE, targeted), tasks(images, labels, UNITS[name][0] / 255), size=4))
    assert sorted(d.task.key for d in done) == list(range(len(images)))
    (wrong,) = [d for d in done if d.task.key == 0]
    assert (wrong.steps, wrong.passes, wrong.fooled) == (0, 1, True)
    alone = {d.task.key: d for d in run(victim, APGD_CE, tasks(images, labels, UNITS[name][0] / 255), size=4)}
    for d in done:
        first = alone[d.task.key]
        assert d.method is (APGD_CE if first.fooled else targeted)
        if first.fooled:
            assert d.passes == first.passes
        else:
            assert d.passes > first.passes + 100


def test_the_checkpoints_are_the_papers():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)


def test_the_number_of_steps():
    assert APGD_CE.steps(0.1) == 101  # the random start, and a hundred iterations
    assert APGD_T.steps(0.1) == 9 * 101
    assert FAB_T.steps(0.1) == 900
    assert SQUARE.steps(0.1) == 5001  # the stripes, and five thousand squares
    assert PGD.steps(0.1) == 5 * 41


def test_pgd_starts_anywhere_in_the_ball_and_takes_its_steps(case):
    """Forty of a quarter of eps from each of five starts, no two of which are near each other."""
    _, victim, images, labels, _ = case
    seen = []
    forward = victim.forward
    victim = copy.copy(victim)
    victim.forward = lambda x: (seen.append(x.detach()[0]), forward(x))[1]
    eps = 0.002
    (done,) = run(victim, PGD, tasks(images[:1], labels[:1], eps), size=1)
    assert (done.steps, done.fooled) == (205, False)
    once = [x for i, x in enumerate(seen) if i == 0 or not torch.equal(x, seen[i - 1])]  # some are looked at again
    path = [((x - images[0]) / eps).numpy() for x in once]
    assert len(path) == 206
    inner = (images[0] > eps).numpy() & (images[0] < 1 - eps).numpy()
    starts = [path[1 + 41 * i] for i in range(5)]
    for i, start in enumerate(starts):
        assert abs(start[inner].mean()) < 0.1
        assert start[inner].std() == pytest.approx(1 / math.sqrt(3), abs=0.05)
        moved = np.abs(path[2 + 41 * i] - start)[inner & (np.abs(start) < 0.7)]
        assert np.median(moved) == pytest.approx(0.25, abs=1e-3)
    assert all(np.abs(a - b)[inner].mean() > 0.5 for i, a in enumerate(starts) for b in starts[:i])


@pytest.mark.parametrize("count", [2, 3])
def test_with_few_classes_there_are_fewer_targets_and_the_loss_is_the_margin(count):
    """The targeted ratio needs four classes: with three its gradient vanishes for the last one."""
    victim = small.load("cnn")
    victim.classes = ClassList("few", tuple("abc"[:count]), tuple("abc"[:count]))
    victim.net = torch.nn.Sequential(victim.net, Part(count))
    images = small.pictures(6)[0]
    with torch.no_grad():
        labels = victim(images).argmax(1)
    for method, steps in ((APGD_T, (count - 1) * 101), (FAB_T, (count - 1) * 100)):
        done = run_in_order(victim, method, tasks(images, labels, 1e-5), size=6)
        assert {d.steps for d in done if not d.fooled} == {steps}
        assert not any(d.zero_gradient for d in done)
        assert all(d.fooled for d in run(victim, method, tasks(images, labels, 0.5), size=6))


class Part(torch.nn.Module):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, logits):
        return logits[:, : self.count]


def test_the_targeted_ratio_is_the_papers():
    logits = torch.tensor([[5.0, 1.0, 3.0, 4.0, 0.0], [0.0, 8.0, 6.0, 4.0, 2.0]])
    found = targeted_dlr(logits, torch.tensor([0, 1]), torch.tensor([2, 4]))
    assert found.tolist() == pytest.approx([-(5 - 3) / (5 - (3 + 1) / 2), -(8 - 2) / (8 - (4 + 2) / 2)])


@given(arrays(np.float32, (4, 6), elements=st.floats(-30, 30, width=32)))
def test_the_cross_entropy_is_torchs_and_has_a_tail(logits):
    logits, labels = torch.from_numpy(logits), torch.tensor([0, 1, 2, 5])
    theirs = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(cross_entropy(logits, labels), theirs, atol=1e-5)
    rows = list(zip(logits.tolist(), labels.tolist(), strict=True))
    gaps = [max(v for j, v in enumerate(row) if j != label) - row[label] for row, label in rows]
    assert margin(logits, labels).tolist() == pytest.approx(gaps, abs=1e-5)
    sure = torch.tensor([[60.0, 0.0, 1.0]], requires_grad=True)
    loss = cross_entropy(sure, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss.sum(), sure)
    assert loss.item() == pytest.approx(math.exp(-60) + math.exp(-59), rel=1e-3)
    assert slope[0, 0].item() == pytest.approx(-loss.item(), rel=1e-3)  # torch's is 0


@settings(deadline=None)
@given(
    points=arrays(np.float64, (3, 12), elements=st.floats(0, 1)),
    slopes=arrays(np.float64, (3, 12), elements=st.floats(-1, 1)),
    gaps=arrays(np.float64, 3, elements=st.floats(-6, 6)),
)
@example(points=np.full((3, 12), 0.5), slopes=np.zeros((3, 12)), gaps=np.array([0.7, 5e-324, 0]))  # no slope to go by
def test_the_projection_is_the_nearest_point_of_the_plane_in_the_box(points, slopes, gaps):
    slopes = np.where(np.abs(slopes) < 1e-3, 0, slopes)
    shaped = [torch.from_numpy(a).view(3, 3, 2, 2) for a in (points, slopes)]
    moves = to_plane(*shaped, torch.from_numpy(gaps)).flatten(1).numpy()
    assert (points + moves >= -1e-9).all()
    assert (points + moves <= 1 + 1e-9).all()
    for x, w, gap, move in zip(points, slopes, gaps, moves, strict=True):
        room = np.where(-w * np.sign(gap) > 0, 1 - x, x)
        reach = (np.abs(w) * room).sum()
        left = gap + w @ move
        assert abs(left) == pytest.approx(max(abs(gap) - reach, 0), abs=1e-6)
        largest = np.abs(move).max()
        if largest > 1e-6 and abs(gap) < reach:  # nothing smaller gets there
            assert (np.abs(w) * np.minimum(room, 0.99 * largest)).sum() < abs(gap)


@pytest.mark.parametrize(("point", "clean", "bias"), [(0.6, 0.5, 0.1), (0.69, 0.4, 1 / 31)])
def test_a_step_of_fab_goes_beyond_a_mean_of_two_projections(point, clean, bias):
    """On a plane at 0.7, whose projections are as far away as it is. The image's share is that of the point's distance
    in both, 1/3 and 1/31, a tenth at most."""
    points, cleans, slope = (torch.full((1, 3, 4, 4), value) for value in (point, clean, 1.0))
    found = FAB_T._stepped(points, cleans, (point - 0.7) * slope.sum()[None], slope)
    expected = (1 - bias) * (point + 1.05 * (0.7 - point)) + bias * (clean + 1.05 * (0.7 - clean))
    assert torch.allclose(found, torch.full_like(found, expected))


def test_squares_become_smaller_by_the_published_schedule():
    shares = [SQUARE.width(index, 2240) ** 2 / 2240**2 for index in range(5000)]
    falls = [i for i in range(1, 5000) if shares[i] != shares[i - 1]]
    assert falls == [11, 51, 201, 501, 1001, 2001, 4001]
    assert [shares[i] for i in (0, *falls)] == pytest.approx([0.8 / 2**i for i in range(8)], rel=0.01)
    assert SQUARE.width(0, 224) == round(math.sqrt(0.8) * 224)
    assert SQUARE.width(4001, 4) == 1


def test_square_begins_with_stripes_and_keeps_what_helps(case):
    _, victim, images, labels, _ = case
    seen = []
    forward = victim.forward
    victim = copy.copy(victim)
    victim.forward = lambda x: (seen.append(x.clone()[0]), forward(x))[1]
    eps = 0.002
    (done,) = run(victim, Square(count=60), tasks(images[:1], labels[:1], eps), size=1)
    assert done.passes == len(seen) == 62
    inner = (images[0] > eps) & (images[0] < 1 - eps)
    changes = [torch.where(inner, ((x - images[0]) / eps).round(), 0) for x in seen]
    assert set(changes[1][inner].tolist()) == {-1.0, 1.0}
    columns = torch.where(inner, changes[1], torch.nan)
    assert torch.equal(columns.nanmean(1).abs().nan_to_num(1), torch.ones_like(columns[:, 0]))
    with torch.no_grad():
        margins = [margin(forward(x[None]), labels[:1]).item() for x in seen]
    best, at = margins[1], changes[1]
    for change, value in zip(changes[2:], margins[2:], strict=True):
        there = (change != at).any(0).nonzero()
        if len(there):  # a square of one colour a channel, put on the best so far
            (top, left), (bottom, right) = there.amin(0).tolist(), there.amax(0).tolist()
            inside = change[:, top : bottom + 1, left : right + 1]
            assert all(len(set(channel[channel != 0].tolist())) <= 1 for channel in inside)
        if value > best:
            best, at = value, change
