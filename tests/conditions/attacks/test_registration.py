"""What attacks say of themselves where they are registered, all of them together."""

from clip_robustness import registry

ATTACKS = {found.name: found.options for found in registry.ours("attack")}
WITHOUT_MODEL = {"patch", "typographic"}
BLIND = {*WITHOUT_MODEL, "nes", "spsa", "square", "universal-file"}
TRANSFERRED = {f"transfer-{name}" for name in ("fgsm", "bim", "mim", "dim")}
LONG = {"nes", "spsa", "pgd", "apgd-ce", "apgd-t", "fab", "square", "autoattack"}
"""Of hundreds of passes an image."""


def those(option, value=True):
    return {name for name, options in ATTACKS.items() if options.get(option) == value}


def test_all_are_there():
    rest = {"fgsm", "bim", "mim", "deepfool", "embedding", "template-heads", "universal", "caption:", "torchattacks:"}
    assert set(ATTACKS) == BLIND | TRANSFERRED | LONG | rest


def test_the_gallery_shows_those_that_are_quickly_done_again():
    assert those("pictured", False) == LONG | {"universal", "universal-file", "torchattacks:"}


def test_those_that_can_be_searched_for_the_smallest_eps():
    assert those("search") == {"fgsm", "bim", "mim", "nes", "spsa"} | TRANSFERRED


def test_those_that_need_no_gradient_are_black_boxes():
    assert those("access", "black-box") == BLIND | TRANSFERRED


def test_those_that_draw_nothing_are_the_same_under_all_seeds():
    gradients = {"fgsm", "bim", "mim", "deepfool", "fab", "caption:", "template-heads"}
    assert those("draws", False) == gradients | {"universal-file"} | TRANSFERRED - {"transfer-dim"}


def test_files_names_and_eps():
    assert those("takes_file") == {"patch", "universal-file"}
    assert those("reads_names") == {"typographic"}
    assert those("eps", ()) == WITHOUT_MODEL
