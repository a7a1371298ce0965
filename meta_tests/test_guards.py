"""Checks on the attacks' figures: each is broken by figures that are wrong, and by nothing else."""

from metrics.guards import of_cells
from metrics.results import Cell


def row(name, eps, accuracy, n=400, flat=0.0, **params):
    metrics = {"flat_gradients": flat}
    return Cell(
        "adversarial", name, {"eps": eps, **params}, "m", "candidate", "pass", "", n=n, accuracy=accuracy,
        metrics=metrics,
    )  # fmt: skip


def broken(*rows):
    return [guard.name for guard in of_cells(rows) if not guard.holds]


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
    assert len(of_cells(SOUND)) == 2 + 2 + 2 + 2 + 5


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


def test_gradients_that_vanish():
    assert broken(row("bim", "8/255", 0.6, flat=0.02)) == ["gradients of bim 8/255 are neither zero nor infinite"]
    assert broken(row("bim", "8/255", 0.6, flat=0.005)) == []
