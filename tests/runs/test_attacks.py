"""Attacks as conditions of a run: transfer, typography, the search for the smallest eps, and what the store keeps."""

import copy
import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.datasets import CIFAR10

from clip_robustness import models, registry, suites
from clip_robustness.conditions.attacks import torchattacks, transfer, universal
from clip_robustness.conditions.attacks.gradient import BIM, MIM
from clip_robustness.conditions.attacks.loop import Task, run, run_in_order
from clip_robustness.conditions.attacks.typographic import typed, wrong_word
from clip_robustness.conditions.benchmark import ATTACKS
from clip_robustness.conditions.condition import CLEAN, attack, perturbation
from clip_robustness.datasets import load
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import image_rng, read_folder, subsample
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.outcomes import NEVER
from clip_robustness.mini.data import mini_folder
from clip_robustness.mini.sets import picture
from clip_robustness.models import InputError
from clip_robustness.models.classifier import Classifier, predict, to_tensor
from clip_robustness.verdicts.measures import figures

MINI = class_list("mini")
DIM = transfer.CRAFTED["dim"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def victim():
    return models.load("mini:clip", MINI)


@pytest.fixture(scope="module")
def surrogate():
    return models.load("mini:supervised", MINI)


@pytest.fixture(scope="module")
def images():
    return subsample(read_folder("imagenet-sketch", mini_folder("imagenet-sketch"), MINI), 24, seed=0)


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    return Evaluator(Store(tmp_path_factory.mktemp("store")), device=CPU, batch_size=16)


CONDITIONS = [
    attack("fgsm", "2/255"),
    attack("deepfool", "1/255"),
    attack("bim", "min"),
    attack("nes", "4/255", pairs=4),
    attack("apgd-ce", "1/255"),
    attack("transfer-dim", "16/255"),
    attack("transfer-mim", "min"),
    attack("typographic"),
]


def test_deepfool_is_computed_once_for_all_eps(evaluate, victim, images):
    at = [evaluate(victim, attack("deepfool", eps), images) for eps in ("1/255", "2/255", "min")]
    assert [outcomes.seconds > 0 for outcomes in at[1:]] == [False, False]
    smallest = at[0].measures["smallest_eps"]
    assert at[0].correct.tolist() == (smallest > 1 / 255).tolist()
    assert at[1].correct.tolist() == (smallest > 2 / 255).tolist()
    assert at[0].correct.sum() > at[1].correct.sum()


def test_the_smallest_eps_agrees_with_the_security_curve(evaluate, victim, images):
    """Within the tolerance of the search; BIM, which is not quite monotone in eps, may differ in single images."""
    found = evaluate(victim, attack("bim", "min"), images)
    clean = evaluate(victim, CLEAN, images)
    assert (found.measures["smallest_eps"][~clean.correct] == 0).all()
    assert (found.measures["smallest_eps"][clean.correct] > 0).all()
    for units in (0.5, 1, 2, 8):
        fixed = evaluate(victim, attack("bim", f"{units}/255" if units > 0.5 else "1/510"), images)
        assert abs(int((found.measures["smallest_eps"] > units / 255).sum()) - int(fixed.correct.sum())) <= 2
    median = figures(attack("bim", "min"), found)["median_eps"]
    assert median.low <= median.value <= median.high
    assert median.value == pytest.approx(np.median(255 * found.measures["smallest_eps"]))


def test_a_search_gives_score_based_attacks_twenty_steps(evaluate, images):
    """Of an image that stands at every eps: three trials, each a look and 20 steps of two queries a pair."""
    first = next(sample for sample in images.samples if sample.label == 0)
    found = evaluate(
        _Unmoved(), attack("nes", "min", pairs=2), replace(images, samples=(first, replace(first, id="b")))
    )
    assert (found.measures["smallest_eps"] == NEVER).all()
    assert found.measures["queries"].tolist() == [4 * (1 + 20 * (2 * 2 + 1))] * 2


class _Unmoved(Classifier):
    """Every image is of the first class, a little more so the brighter it is."""

    def __init__(self):
        super().__init__(
            nn.Identity(), name="unmoved", classes=MINI, image_size=64, geometry=lambda image: image.convert("RGB"),
            mean=(0, 0, 0), std=(1, 1, 1), fingerprint="unmoved",
        )  # fmt: skip

    def forward(self, images):
        logits = torch.zeros(len(images), len(MINI))
        logits[:, 0] = 1 + 1e-3 * images.mean((1, 2, 3))
        return logits


def test_two_percent_more_than_the_smallest_eps_fools_and_two_percent_less_does_not(evaluate, victim, images):
    """But for single images, as BIM is not quite monotone in eps."""
    found = evaluate(victim, attack("bim", "min"), images).measures["smallest_eps"]
    pixels = to_tensor(np.stack([np.asarray(sample.image()) for sample in images.samples]), CPU)
    moved = ((found > 0) & (found < NEVER)).nonzero()[0].tolist()
    fooled = {}
    for factor in (0.98, 1.02):
        tasks = [Task(i, pixels[i], images.samples[i].label, factor * found[i]) for i in moved]
        fooled[factor] = np.mean([done.fooled for done in run_in_order(victim, BIM, tasks, size=64)])
    assert fooled[0.98] < 0.1
    assert fooled[1.02] > 0.9


def test_the_perturbation_is_resampled_between_resolutions(victim, surrogate):
    """A surrogate of 64 px, images of 96: inside the ball, and it fools the surrogate, seen at its own resolution."""
    drawn = [picture("imagenet", i) for i in range(8)]
    images = to_tensor(np.stack([pixels for pixels, _ in drawn]), CPU)
    large, labels = transfer.resampled(images, 96).clamp(0, 1), [label for _, label in drawn]
    rngs = [np.random.default_rng(i) for i in range(8)]
    crafted = transfer.craft(surrogate, transfer.CRAFTED["mim"], large, labels, [8 / 255] * 8, rngs)
    assert crafted.shape == large.shape
    assert (crafted - large).abs().max() <= 8 / 255 + 1e-6
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    with torch.inference_mode():
        seen = surrogate(transfer.resampled(crafted, 64).clamp(0, 1)).argmax(1)
    assert (seen != torch.tensor(labels)).sum() >= 4


def test_crafted_images_are_shared_by_victims_and_kept_apart_from_other_surrogates(
    tmp_path, victim, surrogate, images, monkeypatch
):
    crafted = []
    craft = transfer.craft
    monkeypatch.setattr(
        transfer, "craft", lambda s, name, x, *rest: (crafted.append((s.name, len(x))), craft(s, name, x, *rest))[1]
    )
    evaluate = Evaluator(Store(tmp_path), device=CPU, batch_size=64)
    condition = attack("transfer-fgsm", "8/255")
    another = copy.copy(victim)
    another.fingerprint = "another"
    right = int(evaluate(victim, CLEAN, images).correct.sum())
    for model in (victim, another):
        assert evaluate(model, condition, images, surrogate).seconds > 0
    assert crafted == [("mini:supervised", right), ("mini:supervised", 0)][: len(crafted)]
    assert sum(count for _, count in crafted) == right
    other = evaluate(victim, condition, images, models.load("mini:filter", MINI))
    assert crafted[-1][0] == "mini:filter"
    fresh = Evaluator(Store(tmp_path / "fresh"), device=CPU, batch_size=64)
    assert np.array_equal(
        other.predictions, fresh(victim, condition, images, models.load("mini:filter", MINI)).predictions
    )


RELABELLED = [*CONDITIONS, attack("pgd", "4/255"), attack("universal", "8/255"), perturbation("translate", 1)]


@pytest.mark.parametrize("condition", RELABELLED, ids=lambda c: c.id)
def test_corrected_labels_are_answered_as_by_a_fresh_store(tmp_path, victim, surrogate, images, condition):
    """Labels off by one, then right: what is stored of the wrong ones is no answer, and is one where they return."""
    few = replace(images, samples=images.samples[:4])
    wrong = replace(few, samples=tuple(replace(i, label=(i.label + 1) % 24) for i in few.samples))
    evaluate = Evaluator(Store(tmp_path / "one"), device=CPU, batch_size=16)
    before = evaluate(victim, condition, wrong, surrogate)
    corrected = evaluate(victim, condition, few, surrogate)
    fresh = Evaluator(Store(tmp_path / "two"), device=CPU, batch_size=16)(victim, condition, few, surrogate)
    assert corrected.correct.tolist() == fresh.correct.tolist()
    assert all(np.array_equal(corrected.measures[name], fresh.measures[name]) for name in fresh.measures)
    again = evaluate(victim, condition, wrong, surrogate)
    assert (again.seconds, again.correct.tolist()) == (0, before.correct.tolist())


def test_eps_in_normalised_units_is_a_smaller_one_in_pixels(tmp_path, victim, images):
    """The paper's convention: 8/255 of the normalised image is about 2.1/255 of CLIP's pixels."""
    store = Store(tmp_path)
    evaluate = Evaluator(store, device=CPU, batch_size=32)
    ours = evaluate(victim, attack("fgsm", "2/255"), images)
    theirs = evaluate(victim, attack("fgsm", "8/255", normalized=True), images)
    in_pixels = evaluate(victim, attack("fgsm", "8/255"), images)
    assert theirs.seconds > 0
    assert abs(int(theirs.correct.sum()) - int(ours.correct.sum())) <= 3
    assert theirs.correct.sum() > in_pixels.correct.sum()


@pytest.mark.parametrize(("name", "eps"), [("deepfool", "8/255"), ("transfer-bim", "8/255"), ("bim", "min")])
@pytest.mark.parametrize("option", ["normalized", "rounded"])
def test_what_an_attack_can_not_do_is_not_ignored(name, eps, option):
    with pytest.raises(InputError, match=f"not for '{name}' at '{eps}'; give these a table of their own"):
        attack(name, eps, **{option: True})


def test_images_are_moved_to_a_caption(evaluate, victim, images):
    """The more room, the more of them fit the caption; what is wrong when clean stays so."""
    texts = ("a photo of an apple", "a photo")
    surrogate = models.load("mini:clip?prompts=as-is", ClassList("caption", texts, texts))
    found = [
        evaluate(victim, attack("caption:a photo of an apple", eps), images, surrogate) for eps in ("1/510", "16/255")
    ]
    taken = [outcomes.measures["caption"].mean() for outcomes in found]
    assert found[1].measures["caption_when_clean"].mean() <= taken[0] < 0.5 < taken[1]
    clean = evaluate(victim, CLEAN, images)
    assert np.array_equal(found[1].predictions[~clean.correct], clean.predictions[~clean.correct])
    figure = figures(attack("caption:a photo of an apple", "16/255"), found[1])["fits_the_caption"]
    assert figure.value == taken[1]


def test_a_caption_is_for_models_that_read(suite_run, toml):
    run = suite_run(f"--suite={toml(CAPTION_SUITE)}", "--samples", "12", "-k", "caption or universal")
    assert run.code == 0, run.output
    cell = run.cell("caption:a photo of an apple 8/255")
    assert cell["supervised"] is None
    assert cell["metrics"]["fits_the_caption"] > 0
    assert run.cell("universal 8/255", "supervised")["n"] == 12
    run = suite_run(f"--suite={toml(CAPTION_SUITE)}", "--candidate", "mini:filter", "-k", "caption")
    assert run.code == 5
    assert "only a zero-shot model can read a caption" in run.output


CAPTION_SUITE = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
[data]
imagenet = "mini:imagenet"
[conditions]
attacks = [{ names = ["caption:a photo of an apple", "universal"], eps = ["8/255"] }]
"""


def test_one_perturbation_for_all_images_is_stronger_than_chance(tmp_path, victim, monkeypatch):
    """It fools more images that it was not made of than random signs do; a resumed run goes on with the same one."""
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 96, seed=0)
    condition = attack("universal", "8/255")
    store = Store(tmp_path)
    whole = Evaluator(store, device=CPU, batch_size=32)(victim, condition, images)
    signs = torch.randint(0, 2, (3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    pixels = to_tensor(np.stack([np.asarray(sample.image()) for sample in images.samples]), CPU)
    noisy = predict(victim, (pixels + 8 / 255 * signs).clamp(0, 1))
    by_chance = sum(p != sample.label for p, sample in zip(noisy, images.samples, strict=True))
    assert (~whole.correct).sum() > by_chance + 10
    (cell,) = store.cells()
    _, blocks, _ = store.read(cell)
    assert len(blocks) > 1
    store.replace(cell, blocks[1:])
    again = Evaluator(store, device=CPU, batch_size=32)(victim, condition, images)
    assert np.array_equal(again.predictions, whole.predictions)
    monkeypatch.setattr(universal, "universal", None)  # nothing is crafted where all is known
    assert np.array_equal(Evaluator(store, device=CPU)(victim, condition, images).predictions, whole.predictions)


def test_captions_are_ids_that_can_be_selected():
    assert attack("caption:ist das ein Äpfel?", "8/255").id == "caption:ist-das-ein--pfel--8/255"


def test_bad_attacks_are_named():
    with pytest.raises(InputError, match="did you mean '8/255'"):
        attack("bim", "8")
    with pytest.raises(InputError, match="needs a text, such as 'caption:a photo of a dog'"):
        attack("caption:", "8/255")
    with pytest.raises(InputError, match="attack 'deepfol' is unknown; did you mean 'deepfool'"):
        attack("deepfol", "8/255")


def test_a_model_with_nan_logits_is_named(tmp_path, victim, images):
    class Broken(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :24] * torch.nan

    broken = copy.deepcopy(victim)
    broken.net = Broken()
    with pytest.raises(FloatingPointError, match="mini:clip: logits are NaN or infinite"):
        Evaluator(Store(tmp_path), device=CPU)(broken, attack("bim", "1/255"), replace(images, space=None))


@pytest.mark.parametrize("name", ["torchattacks:PGD?steps=5", "torchattacks:CW?steps=5"])
def test_attacks_of_torchattacks_by_name(evaluate, victim, images, name):
    """Only what is right when clean is attacked, inside the ball."""
    few = subsample(images, 8, seed=0)
    clean = evaluate(victim, CLEAN, few)
    found = evaluate(victim, attack(name, "none" if "CW" in name else "8/255"), few)
    assert np.array_equal(found.predictions[~clean.correct], clean.predictions[~clean.correct])
    assert found.correct.sum() <= clean.correct.sum()
    if "PGD" in name:
        assert found.correct.sum() == 0


def test_attacks_of_torchattacks_get_the_suites_seed_and_no_more_classes_than_there_are(victim):
    """Theirs is the clock; and of a thousand classes nine are targets, as published."""
    for name in ("AutoAttack", "APGDT", "Square"):
        made = torchattacks._made(victim, f"torchattacks:{name}", 8 / 255, seed=7)
        assert (made.seed, made.eps) == (7, 8 / 255)
    assert torchattacks._made(victim, "torchattacks:APGDT", 8 / 255, seed=7).n_target_classes == 9
    assert torchattacks._made(victim, "torchattacks:Square?seed=3", 8 / 255, seed=7).seed == 3
    three = copy.copy(victim)
    three.classes = ClassList("three", ("a", "b", "c"), ("a", "b", "c"))
    assert torchattacks._made(three, "torchattacks:APGDT", 8 / 255, seed=7).n_target_classes == 2


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-t", "fab", "square", "autoattack", "universal"])
def test_attacks_beyond_the_eleven_are_marked_and_our_own(name):
    assert not attack(name, "8/255").kind.in_benchmark
    assert name in {found.name for found in registry.ours("attack")}


def test_the_eleven_are_registered_with_their_papers():
    ours = {found.name: found for found in registry.ours("attack")}
    assert all(ours[name].options["source"] for name in ATTACKS)
    assert all(attack(name, "8/255").kind.in_benchmark for name in ATTACKS)


@pytest.mark.parametrize(
    ("name", "eps", "says"),
    [
        ("torchattacks:PDG", "4/255", "torchattacks has no PDG; did you mean 'PGD'"),
        ("torchattacks:CW", "4/255", 'write eps = \\["none"\\] for an attack without eps'),
        ("torchattacks:PGD?stepz=3", "4/255", "unexpected keyword argument 'stepz'"),
    ],
)
def test_wrong_attacks_of_torchattacks_are_named(evaluate, victim, images, name, eps, says):
    with pytest.raises(InputError, match=says):
        evaluate(victim, attack(name, eps), images)


def test_no_search_with_attacks_of_torchattacks():
    with pytest.raises(InputError, match="runs at a fixed eps"):
        attack("pgd", "min")


def test_what_counts_is_the_file_when_images_are_rounded(evaluate, victim, images):
    """Of perturbations under half a grey level nothing is left, at 8/255 all that matters."""
    clean = evaluate(victim, CLEAN, images)
    tiny = evaluate(victim, attack("fgsm", "1/1020", rounded=True), images)
    assert np.array_equal(tiny.predictions, clean.predictions)
    assert evaluate(victim, attack("fgsm", "1/1020"), images).correct.sum() < clean.correct.sum()
    whole = [evaluate(victim, attack("fgsm", "8/255", rounded=rounded), images) for rounded in (False, True)]
    assert np.array_equal(whole[0].predictions, whole[1].predictions)


def test_typographic_images_from_disk(tmp_path, evaluate, victim, images):
    """Written as ImageNet-T is, a folder a class: what was drawn on the fly counts the same, read back."""
    on_the_fly = evaluate(victim, attack("typographic"), images)
    clean = evaluate(victim, CLEAN, images)
    for sample in images.samples:
        rng = image_rng(0, "typographic", sample.id)
        word = MINI.names[wrong_word(MINI.names, sample.label, rng)]
        file = tmp_path / sample.id
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(typed(np.asarray(sample.image().convert("RGB")), word, rng)).save(file)
    found = evaluate(victim, attack("typographic-disk"), load.load("typographic", str(tmp_path), MINI))
    assert np.array_equal(found.correct & clean.correct, on_the_fly.correct)


def test_cifar_from_its_archive(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = pixels.transpose(0, 3, 1, 2).reshape(20, -1)
    for name, content in {
        "test_batch": {"data": rows, "labels": [i % 10 for i in range(20)]},
        "batches.meta": {"label_names": list(class_list("cifar10").names)},
    }.items():
        (folder / name).write_bytes(pickle.dumps(content))
    md5 = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    found = load.load("imagenet", str(tmp_path), class_list("cifar10"))
    assert (len(found), found.samples[0].id, found.samples[0].label) == (20, "airplane/00000", 0)
    assert np.array_equal(np.asarray(found.samples[3].image()), pixels[int(found.samples[3].id[-5:])])
    (folder / "test_batch").write_bytes(b"something else")
    with pytest.raises(InputError, match="unpack the archive anew"):
        load.load("imagenet", str(folder), class_list("cifar10"))


def test_cifar_has_a_name_of_its_own_in_a_suite(toml):
    text = 'classes = "cifar10"\ncandidate = ["mini:clip"]\n[data]\ncifar10 = "/data/cifar10"\n[conditions]\n'
    suite = suites.load(toml(text))
    assert suite.source(suite.data_of(CLEAN)) == "/data/cifar10"


@pytest.mark.parametrize("method", [BIM, MIM, DIM], ids=["bim", "mim", "dim"])
def test_passes_do_not_depend_on_what_becomes_of_other_images(surrogate, images, method):
    """In double precision, where batches do not round in other ways. Some fall at once, some stand to the end."""
    model = copy.deepcopy(surrogate).double()
    pixels = np.stack([np.asarray(surrogate.geometry(sample.image())) for sample in images.samples])
    tasks = [
        Task(n, image, sample.label, eps, np.random.default_rng(n))
        for n, (image, sample, eps) in enumerate(
            zip(to_tensor(pixels, CPU).double(), images.samples, (0.001, 0.03) * 12, strict=True)
        )
    ]

    def passes(order, size):
        for n, task in enumerate(tasks):
            object.__setattr__(task, "rng", np.random.default_rng(n))
        done = {d.task.key: (d.passes, d.prediction) for d in run(model, method, [tasks[i] for i in order], size=size)}
        return [done[n] for n in range(len(tasks))]

    whole = passes(range(24), 24)
    assert len({count for count, _ in whole}) > 2
    assert passes(range(24), 1) == passes(range(23, -1, -1), 5) == whole


def test_what_the_loop_yields_does_not_hold_its_batches(surrogate, images):
    pixels = np.stack([np.asarray(surrogate.geometry(sample.image())) for sample in images.samples])
    tasks = [Task(n, image, 0, 0.01) for n, image in enumerate(to_tensor(pixels, CPU))]
    done = list(run(surrogate, BIM, tasks, size=16))
    assert all(d.image.untyped_storage().nbytes() == d.image.nbytes for d in done)
