"""Perturbations and patches of files: what is read, what is refused, and where it is put."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_robustness.conditions.attacks.from_file import SHARES, perturbation, read_patch, with_patch
from clip_robustness.conditions.condition import attack
from clip_robustness.conditions.ids import condition_of
from clip_robustness.errors import InputError

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
