"""Checks on the attacks' figures: each is broken by figures that are wrong, and by nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import grad as slope

from clip_robustness import models
from clip_robustness.conditions.condition import attack
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics import evidence
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.results.guards import doubts, of_cells
from clip_robustness.results.result import Check, PerImage, Result
from clip_robustness.verdicts.judge import Verdict, doubted
from clip_robustness.verdicts.measure import measure
from tests.evaluation.test_session import session_of


def row(name, eps, accuracy, n=400, flat=0.0, **params):
    metrics = {"zero_gradients": flat}
    return Result(
        "adversarial", name, {"eps": eps, **params}, "m", "candidate", "pass", "", n=n, accuracy=accuracy,
        metrics=metrics,
    )  # fmt: skip


def broken(*rows):
    return [guard.name for guard in of_cells(rows) if not guard.passed]


SOUND = (
    row("fgsm", "1/255", 0.6),
    row("fgsm", "8/255", 0.3),
    row("bim", "1/255", 0.5),
    row("bim", "8/255", 0.0),
    row("bim", "min", 0.9),
    row("pgd", "8/255", 0.0),
    row("autoattack", "8/255", 0.0),
    row("nes", "8/255", 0.7, pairs="20pairs"),
    row("transfer-mim", "8/255", 0.8),
)


def test_sound_figures():
    assert broken(*SOUND) == []
    assert len(of_cells(SOUND)) == 2 + 2 + 2 + 2 + 9


def test_accuracy_that_grows_with_eps():
    assert broken(row("fgsm", "1/255", 0.3), row("fgsm", "8/255", 0.5)) == ["accuracy under fgsm falls with eps"]
    assert broken(row("fgsm", "8/255", 0.3), row("fgsm", "10/255", 0.32)) == []
    assert broken(row("fgsm", "0.5/255", 0.3), row("fgsm", "1/255", 0.5)) == ["accuracy under fgsm falls with eps"]


def test_iterations_that_are_weaker_than_one_step():
    assert broken(row("fgsm", "8/255", 0.3), row("bim", "8/255", 0.5)) == ["bim is at least as strong as fgsm"]


def test_a_black_box_attack_that_is_stronger_than_a_white_box_one():
    found = broken(row("bim", "8/255", 0.6), row("transfer-mim", "8/255", 0.2), row("spsa", "8/255", 0.3))
    assert found == [
        "bim, which knows the model, is at least as strong as spsa",
        "bim, which knows the model, is at least as strong as transfer-mim",
    ]


def test_an_ensemble_that_is_weaker_than_its_parts():
    found = broken(row("pgd", "8/255", 0.2), row("autoattack", "8/255", 0.4))
    assert found == ["autoattack is at least as strong as pgd"]


def test_eps_in_other_units_is_another_eps():
    """8/255 of a normalised image is about 2/255 of its pixels."""
    weaker = row("bim", "8/255", 0.6, eps_space="normalized")
    assert broken(row("fgsm", "8/255", 0.3), weaker) == []
    assert broken(row("fgsm", "8/255", 0.3, eps_space="normalized"), weaker) == ["bim is at least as strong as fgsm"]
    assert broken(row("bim", "8/255", 0.6), row("nes", "8/255", 0.3, pairs="20pairs")) != []


def on_images(name, correct, images="abc", clusters=None):
    correct = np.array(correct)
    of = PerImage.of(list(images), correct, clusters)
    return replace(row(name, "8/255", float(correct.mean()), n=len(correct)), per_image=of)


def test_attacks_on_the_same_images_are_compared_image_by_image():
    """7 images more of 400 stand: nothing by two standard errors, but no image is one less."""
    fgsm = np.arange(400) < 120
    bim = np.arange(400) < 127
    claim = ["bim is at least as strong as fgsm"]
    assert broken(on_images("fgsm", fgsm), on_images("bim", bim)) == claim
    assert broken(on_images("fgsm", fgsm), on_images("bim", bim, images="abd")) == []
    assert broken(on_images("fgsm", fgsm), on_images("bim", np.arange(300) < 95)) == []
    both_ways = bim ^ (np.arange(400) < 5)
    assert broken(on_images("fgsm", fgsm), on_images("bim", both_ways)) == []


@pytest.mark.parametrize("right", ["", "AA", "not base64!", "AAAA" * 40])
def test_what_does_not_tell_of_the_images_is_not_compared_image_by_image(right):
    sound = on_images("fgsm", np.arange(400) < 120)
    other = replace(on_images("bim", np.arange(400) < 127), per_image=PerImage(sound.per_image.images, right))
    assert broken(sound, other) == []
    if right:
        unlike = replace(sound, per_image=replace(sound.per_image, clusters=right))
        assert broken(unlike, on_images("bim", np.arange(400) < 127)) == []


def test_images_that_belong_together_are_weighed_as_verdicts_weigh_them():
    """7 images more, which are frames of one video, show little; each of another video, as much as 7 images."""
    fgsm, bim = np.arange(400) < 120, np.arange(400) < 127
    of_one = Clusters.of([(str(i // 10),) for i in range(400)])
    assert broken(on_images("fgsm", fgsm, clusters=of_one), on_images("bim", bim, clusters=of_one)) == []
    apart = Clusters.of([(str(i % 200),) for i in range(400)])
    shown = broken(on_images("fgsm", fgsm, clusters=apart), on_images("bim", bim, clusters=apart))
    assert bool(shown) == (evidence.paired(fgsm, bim, 0.0, apart).p_violation <= 0.02275)
    few = Clusters.of([(str(i % 20),) for i in range(400)])
    assert broken(on_images("fgsm", fgsm, clusters=few), on_images("bim", ~fgsm, clusters=few)) == []
    kept = on_images("fgsm", fgsm, clusters=few).per_image
    assert np.array_equal(kept.ways(400), few.ways)


def test_gradients_that_vanish():
    assert broken(row("bim", "8/255", 0.6, flat=0.02)) == ["gradients of bim 8/255 are neither zero nor infinite"]
    assert broken(row("bim", "8/255", 0.6, flat=0.005)) == []


def test_what_is_up_takes_the_verdict_back():
    for figure, allowed in (("randomised", 0), ("zero_gradients", 0.01), ("fooled_by_square_alone", 0.002)):
        assert doubts(replace(row("autoattack", "8/255", 0.6), metrics={figure: allowed})) == []
        flagged = replace(row("autoattack", "8/255", 0.6), metrics={figure: allowed + 0.001})
        assert len(doubts(flagged)) == len(broken(flagged)) == 1
    passed = Check("min_accuracy", 0.5, 0.6, (0.5, 0.7), 1.0, 0.0, "pass", "")
    for status in ("pass", "improved"):
        verdict = doubted(Verdict(status, "accuracy 0.6", (passed,), True), ["it is randomised", "and masked"])
        assert (verdict.status, verdict.reason) == ("inconclusive", "it is randomised; and masked: accuracy 0.6")
        assert [check.status for check in verdict.checks] == ["inconclusive"]
    for status in ("fail", "known weakness", "not gated", "inconclusive"):
        assert doubted(Verdict(status, ""), ["it is randomised"]) == Verdict(status, "")
    assert doubted(Verdict("pass", ""), []) == Verdict("pass", "")


def _around(wrap):
    def factory(spec, classes, device):
        victim = models.load("mini:supervised", classes, device)
        victim.net = wrap(victim.net)
        return victim

    return factory


class _Then(nn.Module):
    def __init__(self, net, act):
        super().__init__()
        self.net, self.act = net, act

    def forward(self, images):
        return self.act(self.net(images))


class _Purified(nn.Module):
    """Moves images towards what it is sure of, before it looks at them."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        with torch.inference_mode(False), torch.enable_grad():
            seen = images.detach().clone().requires_grad_()
            (direction,) = slope(self.net(seen).logsumexp(1).sum(), seen)
        return self.net(images + 1e-6 * direction)


sound = _around(lambda net: net)
randomised = _around(lambda net: _Then(net, lambda logits: logits + 0.01 * torch.randn_like(logits)))
probabilities = _around(lambda net: _Then(net, lambda logits: logits.softmax(1)))
optimises = _around(_Purified)
masked = _around(lambda net: _Then(net, torch.round))


@pytest.mark.parametrize(
    ("factory", "doubt"),
    [
        ("sound", None),
        ("randomised", "randomised"),
        ("probabilities", "probabilities for logits"),
        ("optimises", "gradients at inference"),
        ("masked", "gradients are zero"),
    ],
)
def test_no_flagged_model_is_called_robust(tmp_path, factory, doubt):
    """At an eps that fools nobody, all would keep the limit."""
    session = session_of(
        tmp_path,
        f"""candidate = ["python:tests.verdicts.test_guards:{factory}"]
        classes = "mini"
        samples = 48
        [data]
        imagenet = "mini:imagenet"
        [conditions]
        attacks = [{{ names = ["fgsm"], eps = ["1/25500"] }}]
        [[rules]]
        match = "adversarial/*"
        min_accuracy = 0.2""",
        48,
    )
    (spec,) = session.settings.candidates
    (cell,) = measure(session, Cell(spec, attack("fgsm", "1/25500")), "test")
    assert cell.accuracy > 0.5
    assert cell.verdict == ("pass" if doubt is None else "inconclusive")
    assert (doubt or "") in cell.reason
    assert [g.passed for g in of_cells([cell])].count(False) == (doubt is not None)
