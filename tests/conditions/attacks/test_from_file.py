"""Perturbations and patches of files: what is read, what is refused, and where it is put."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_robustness.conditions.attacks.from_file import SHARES, perturbation, read_patch, with_patch
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.context import Context
from clip_robustness.conditions.ids import condition_of
from clip_robustness.conditions.kept import Kept
from clip_robustness.datasets.dataset import Sample, image_rng
from clip_robustness.errors import InputError
from clip_robustness.models.classifier import predict, to_tensor
from tests import small

FOUND = np.linspace(-0.1, 0.1, 3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 3, 4, 4)])
@pytest.mark.parametrize("ending", ["npy", "safetensors"])
def test_a_perturbation_is_clamped_to_eps(tmp_path, ending, shape):
    file = tmp_path / f"u.{ending}"
    if ending == "npy":
        np.save(file, FOUND.reshape(shape))
    else:
        save_file({"delta": torch.from_numpy(FOUND.reshape(shape))}, file)
    found = perturbation(file, 4, 0.05)
    assert torch.equal(found, torch.from_numpy(FOUND).clamp(-0.05, 0.05))
    assert perturbation(file, 9, 0.05).shape == (3, 9, 9)


@pytest.mark.parametrize("ending", ["pkl", "pt", "npy"])
def test_pickles_are_refused(tmp_path, ending):
    file = tmp_path / f"u.{ending}"
    file.write_bytes(pickle.dumps(FOUND))
    with pytest.raises(InputError, match=r"u\.(pkl|pt|npy): (a \.safetensors|not a perturbation)"):
        perturbation(file, 4, 0.1)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FOUND[0], r"\(3, height, width\) is expected, not \(4, 4\)"),
        (255 * FOUND, "divide by 255"),
        (FOUND * np.nan, r"lie in \[-1, 1\]"),
    ],
)
def test_what_is_no_perturbation(tmp_path, found, said):
    np.save(tmp_path / "u.npy", found)
    with pytest.raises(InputError, match=said):
        perturbation(tmp_path / "u.npy", 4, 0.1)


def test_a_patch_is_inside_and_of_the_stated_size(tmp_path):
    Image.new("RGBA", (30, 15), (255, 0, 0, 255)).save(tmp_path / "p.png")
    grey, patch, areas = np.full((100, 120, 3), 128, np.uint8), read_patch(tmp_path / "p.png"), []
    for seed in range(40):
        changed = (with_patch(grey, patch, np.random.default_rng(seed)) != grey).any(2)
        areas.append(changed.sum())
        assert not changed[0].all()
    least, most = (0.5 * (100 * share) ** 2 for share in SHARES)
    assert 0.9 * least < min(areas) < max(areas) < 1.2 * most
    again = [with_patch(grey, patch, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*again)


def test_what_is_transparent_shows_the_image(tmp_path):
    Image.new("RGBA", (30, 15), (255, 0, 0, 0)).save(tmp_path / "p.png")
    grey = np.full((50, 50, 3), 128, np.uint8)
    assert np.array_equal(with_patch(grey, read_patch(tmp_path / "p.png"), np.random.default_rng(0)), grey)


@pytest.mark.parametrize(
    ("name", "eps", "id"), [("patch", "", "patch-a_b"), ("universal-file", "8/255", "universal-file-a_b-8/255")]
)
def test_the_file_is_part_of_the_id(name, eps, id):
    condition = attack(name, eps, file="somewhere/a b.npy")
    assert condition.id == id
    assert condition_of(id) == condition


def test_a_file_for_those_that_take_one():
    with pytest.raises(InputError, match="attack 'bim' takes no file"):
        attack("bim", "8/255", file="x.npy")
    with pytest.raises(InputError, match="adversarial/patch needs a file"):
        _ = attack("patch").given_file


class Given:
    """Numbers as they are given: the size and the turn, and the least or the greatest place."""

    def __init__(self, share, turn, greatest):
        self.between, self.numbers, self.greatest = [], [share, turn], greatest

    def uniform(self, low, high):
        self.between.append((low, high))
        return self.numbers.pop(0)

    def integers(self, low, high):
        return high - 1 if self.greatest else low


def box(changed):
    """First and last row, first and last column."""
    rows, columns = np.nonzero(changed)
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(
    ("share", "turn", "greatest", "expected"),
    [
        (0.3, 0, False, (0, 14, 0, 29)),
        (0.3, 0, True, (85, 99, 90, 119)),
        (0.4, 0, True, (80, 99, 80, 119)),
        (0.3, 90, False, (0, 29, 0, 14)),
    ],
)
def test_a_patch_by_hand(share, turn, greatest, expected):
    """30 x 15 px of which the longer side is made 30, or 40, of the shorter one's 100."""
    drawn = Given(share, turn, greatest)
    grey = np.full((100, 120, 3), 128, np.uint8)
    changed = (with_patch(grey, Image.new("RGBA", (60, 30), (255, 0, 0, 255)), drawn) != grey).any(2)
    assert box(changed) == expected
    assert changed.sum() == 15 * share / 0.3 * 30 * share / 0.3
    assert drawn.between == [(0.2, 0.4), (-20, 20)]


def test_a_thin_patch_on_a_small_image_is_still_seen():
    grey = np.full((10, 10, 3), 128, np.uint8)
    seen = with_patch(grey, Image.new("RGBA", (60, 2), (255, 0, 0, 255)), Given(0.3, 0, False))
    assert box((seen != grey).any(2)) == (0, 0, 0, 2)


def test_a_patch_as_large_as_the_image_has_one_place():
    """Turned by 45 degrees it is larger than the image: what is beyond is cut off."""
    grey = np.full((10, 10, 3), 128, np.uint8)
    for turn in (0, 45):
        seen = with_patch(grey, Image.new("RGBA", (9, 9), (255, 0, 0, 255)), Given(1, turn, True))
        assert seen.shape == grey.shape
        assert seen[5, 5].tolist() == [255, 0, 0]


def test_a_perturbation_of_another_side_is_resized_by_its_neighbours(tmp_path):
    """From 2 to 4 px the middles of pixels lie a quarter from the old ones."""
    np.save(tmp_path / "u.npy", np.full((3, 2, 2), [0.0, 0.04], np.float32))
    assert perturbation(tmp_path / "u.npy", 4, 0.1)[0, 0].tolist() == pytest.approx([0, 0.01, 0.03, 0.04])


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (4, 4, 4), (3, 0, 4), (1, 3, 4)])
def test_shapes_that_are_none(tmp_path, shape):
    np.save(tmp_path / "u.npy", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=r"\(3, height, width\) is expected"):
        perturbation(tmp_path / "u.npy", 4, 0.1)


def test_numbers_up_to_one_and_one_tensor_are_taken(tmp_path):
    np.save(tmp_path / "u.npy", np.ones((3, 4, 4)))
    assert perturbation(tmp_path / "u.npy", 4, 0.1).dtype == torch.float32
    save_file({"a": torch.zeros(3, 4, 4), "b": torch.zeros(3, 4, 4)}, tmp_path / "u.safetensors")
    with pytest.raises(InputError, match="one tensor is expected, it has 2"):
        perturbation(tmp_path / "u.safetensors", 4, 0.1)


def test_what_is_no_picture(tmp_path):
    (tmp_path / "p.png").write_text("none")
    with pytest.raises(InputError, match=r"p\.png: not a picture"):
        read_patch(tmp_path / "p.png")


@pytest.fixture
def batch():
    """Images that the model gets right, and one that it does not."""
    victim = small.load("cnn")
    images, _ = small.pictures(8)
    pixels = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    right = torch.tensor(predict(victim, to_tensor(pixels, torch.device("cpu"))))
    return victim, [
        (Sample(str(i), Path(f"{i}.png"), int(label) if i else (int(label) + 1) % 24), image)
        for i, (label, image) in enumerate(zip(right, pixels, strict=True))
    ]


@pytest.mark.parametrize("name", ["universal-file", "patch"])
def test_what_models_see(tmp_path, batch, name, monkeypatch):
    """The perturbation, cut to the ball and to [0, 1], or the patch that the image's own numbers put on it."""
    victim, images = batch
    if name == "patch":
        file = tmp_path / "p.png"
        Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(file)
        condition = attack(name, file=str(file))
        seen = [with_patch(x, read_patch(file), image_rng(5, condition.random_name, s.id)) for s, x in images]
        expected = to_tensor(np.stack(seen), torch.device("cpu"))
    else:
        file = tmp_path / "u.npy"
        np.save(file, np.full((3, 4, 4), 0.9, np.float32))
        condition = attack(name, "8/255", file=str(file))
        clean = to_tensor(np.stack([x for _, x in images]), torch.device("cpu"))
        expected = (clean + 8 / 255).clamp(0, 1)
    context = Context(victim, condition, torch.device("cpu"), 8, 5, Kept(0), pictures={})
    shown, forward = [], victim.forward
    monkeypatch.setattr(victim, "forward", lambda x: (shown.append(x.clone()), forward(x))[1])
    (answers,) = condition.registered.function(context, [images])
    assert torch.allclose(shown[1], expected[1:])
    predictions = [answer.prediction for _, answer in answers]
    assert predictions[1:] == predict(victim, expected[1:])
    assert predictions[0] == predict(victim, shown[0])[0]
    if name == "patch":
        assert torch.equal(torch.stack([context.pictures[str(i)] for i in range(8)]), expected)
