"""What runs on a GPU, on a device that is emulated: nothing stays behind on the CPU, nothing else comes out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clip_robustness import models
from clip_robustness.__main__ import main
from clip_robustness.datasets.classes import class_list
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Settings
from clip_robustness.mini.sets import picture
from clip_robustness.models.features import load_encoder
from clip_robustness.models.spec import parse
from clip_robustness.overlap.embeddings import Embedded
from clip_robustness.overlap.search import exact
from clip_robustness.overlap.sources import Shard
from tests.conditions.test_contract import SUITE
from tests.gpu import emulated


@pytest.fixture(scope="module")
def device():
    with emulated.device() as found:
        yield found


def test_it_is_another_device(device):
    """What a GPU refuses it refuses."""
    here, there = torch.ones(3), torch.ones(3).to(device)
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(RuntimeError):
        there.numpy()
    assert (there + 1).cpu().tolist() == [2, 2, 2]
    assert torch.equal((2 * there)[[0, 1]].cpu(), torch.full((2,), 2.0))


def test_its_readings_are_counted(device):
    there = torch.ones(3).to(device)
    with emulated.readings() as found:
        there * 2 + there[torch.tensor([0])]
    assert not found
    with emulated.readings() as found:
        there.sum().item(), bool(there.any()), there[there > 0], there.cpu(), there.tolist()
    assert found.total() == 5


@pytest.mark.filterwarnings("ignore:.*its precision and compile options make a forward pass take")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["clip", "supervised"])
def test_logits_and_gradients(device, kind, precision):
    """In what autocast makes of them, too: it has lists of operations for each kind of device."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def found(place):
        model = models.load(f"mini:{kind}?precision={precision}", class_list("mini"), torch.device(place))
        seen = images.to(place).requires_grad_()
        logits = model(seen)
        return logits.detach().cpu(), torch.autograd.grad(logits.sum(), seen)[0].cpu()

    near = 1e-5 if precision == "fp32" else 0.03
    for ours, theirs in zip(found(device), found("cpu"), strict=True):
        assert (ours - theirs).abs().max() < near * theirs.abs().max()


_BY_NAME = {condition.name: condition for condition in reversed(SUITE.conditions)}
"""One of each corruption and attack: others of its name take the same ways."""
_SEARCHED = next(condition for condition in SUITE.conditions if condition.id == "bim-min")


@pytest.fixture(scope="module")
def sessions(device, tmp_path_factory):
    """On the device and on the CPU, in other batches."""
    specs, surrogate = tuple(parse(text) for text in SUITE.settings.candidate), parse(SUITE.settings.surrogate)

    def session(place, batch):
        run = tmp_path_factory.mktemp(place) / "reports" / "run"
        return Session(Settings(SUITE, specs, (), surrogate, 8, 0, place, batch, run, False))

    return session(str(device), 2), session("cpu", 64)


@pytest.mark.parametrize("condition", [*_BY_NAME.values(), _SEARCHED], ids=lambda condition: condition.id)
def test_outcomes_are_those_of_a_cpu(sessions, condition):
    found = []
    for session in sessions:
        candidate = session.settings.candidates[condition.kind.zero_shot_only]
        images = session.images(condition)
        if not condition.kind.craft_set:  # which is made of half of them
            images = replace(images, samples=images.samples[:3])
        model, surrogate = session.asked(candidate, condition), session.surrogate(candidate, condition)
        found.append(session.evaluator(model, condition, images, surrogate))
    here, there = found
    assert here.ids == there.ids
    assert (here.predictions != there.predictions).sum() <= 1  # by floating point


def test_a_run(device, run_here):
    run = run_here("--device", str(device), "--samples=8", "-k", "mini:clip-clean and not classes")
    assert run.code == 0, run.output
    assert f"on {device}" in run.output


def test_a_search_for_prompts(device, tmp_path):
    data = ["--model=mini:clip", "--classes=mini", "--data=mini:imagenet-sketch", "--images=48", "--held-out=48"]
    short = ["--restarts=1", "--before=1", "--after=0", "--sweeps=1", "--candidates=2"]
    assert main(["prompts", "search", *data, *short, f"--device={device}", f"--out={tmp_path / 'found.json'}"]) == 0


def test_a_search_for_near_duplicates(device, tmp_path):
    images = [Image.fromarray(picture("imagenet-v2", i)[0]) for i in range(4)]

    def found(place):
        encoder = load_encoder(parse("mini:clip"), class_list("mini"), torch.device(place))
        vectors = encoder([encoder.geometry(image) for image in images])
        np.save(tmp_path / "0.npy", vectors)
        return exact(vectors, [Embedded(Shard("0", "0"), tmp_path / "0.npy", 4)], 2, torch.device(place))

    for ours, theirs in zip(found(device), found("cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("id", "a_pass"),
    [("fgsm-4/255", 1), ("bim-4/255", 1), ("mim-4/255", 1), ("pgd-4/255", 1), ("apgd-t-4/255", 1), ("square-16/255", 2),
     ("fab-4/255", 2), ("nes-16/255-20pairs", 1), ("imagenet-v2", 1)],
)  # fmt: skip
def test_what_waits_for_a_device(sessions, id, a_pass):
    """A step of an attack reads back once, a forward pass of plain images once, an image that enters once at most."""
    session, _ = sessions
    (condition,) = [condition for condition in SUITE.conditions if condition.id == id]
    model, images = session.asked(session.settings.candidates[0], condition), session.images(condition)
    forwards = []
    hook = model.loaded.net.register_forward_hook(lambda *_: forwards.append(1))
    try:
        with emulated.readings() as found:
            for _ in session.evaluator.answers(model, condition, images, None, range(4)):
                pass
    finally:
        hook.remove()
    assert 0 < found.total() <= a_pass * len(forwards) + 4 * bool(condition.kind.attack), found
