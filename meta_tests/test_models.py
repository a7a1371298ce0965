"""Loading: parity with the libraries' own path from file to logits, and bad checkpoints."""

import json
import pickle

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

import models
from models import InputError, mini, zero_shot
from models.classes import class_list
from models.classifier import Classifier, predictions_of
from models.lite import by_order

MINI = class_list("mini")


@pytest.fixture(scope="module")
def clip() -> Classifier:
    return models.load("mini:clip", MINI)


@pytest.fixture(scope="module")
def supervised() -> Classifier:
    return models.load("mini:supervised", MINI)


@pytest.fixture(scope="module")
def awkward_images() -> list[Image.Image]:
    """Not square, small, large, grey, with alpha, CMYK."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (90, 130, 3), np.uint8)
    image = Image.fromarray(noise).resize((200, 150))
    return [image, image.resize((31, 57)), image.convert("L"), image.convert("RGBA"), image.convert("CMYK")]


def pixels(classifier: Classifier, images: list[Image.Image]) -> torch.Tensor:
    arrays = [np.asarray(classifier.geometry(image)) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def test_zero_shot_logits_equal_open_clips_own_path(clip, awkward_images):
    theirs, _, transform = open_clip.create_model_and_transforms(mini.CLIP_ARCHITECTURE, str(mini.CLIP_WEIGHTS))
    theirs.eval()
    tokenizer = open_clip.get_tokenizer(mini.CLIP_ARCHITECTURE)
    with torch.no_grad():
        head = open_clip.build_zero_shot_classifier(theirs, tokenizer, MINI.names, open_clip.OPENAI_IMAGENET_TEMPLATES)
        assert torch.allclose(clip.net.head, head, atol=1e-5)
        batch = torch.stack([transform(image) for image in awkward_images])
        expected = theirs.logit_scale.exp() * theirs.encode_image(batch, normalize=True) @ head
        assert torch.allclose(clip.logits(pixels(clip, awkward_images)), expected, atol=1e-4)


def test_a_zero_shot_head_is_built_once(tmp_path, monkeypatch, clip):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    built = []
    original = zero_shot.build_zero_shot_classifier
    monkeypatch.setattr(
        zero_shot, "build_zero_shot_classifier", lambda *a, **k: (built.append(a), original(*a, **k))[1]
    )
    heads = [models.load("mini:clip", MINI).net.head for _ in range(2)]
    assert len(built) == 1
    (file,) = (tmp_path / "heads").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    heads.append(models.load("mini:clip", MINI).net.head)
    assert len(built) == 2
    assert all(torch.allclose(head, clip.net.head, atol=1e-6) for head in heads)


def test_tags_that_need_quick_gelu_get_it():
    """open_clip only warns: the plain architecture would silently lose accuracy."""
    assert zero_shot._trained_with_quick_gelu("ViT-B-32", "openai")
    assert not zero_shot._trained_with_quick_gelu("ViT-B-32", "laion2b_s34b_b79k")
    assert not zero_shot._trained_with_quick_gelu("ViT-B-32", "")


def test_one_checkpoint_in_two_architectures_has_two_fingerprints(tmp_path, monkeypatch, clip):
    config = json.loads((mini.FOLDER / "mini-clip.json").read_text()) | {"quick_gelu": True}
    (tmp_path / "mini-quick.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "mini-quick.json")
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    assert models.load(f"open_clip:mini-quick@{mini.CLIP_WEIGHTS}", MINI).fingerprint != clip.fingerprint


def test_timm_logits_equal_timms_own_path(tmp_path, awkward_images):
    theirs = timm.create_model("test_vit2", num_classes=24).eval()
    save_file(theirs.state_dict(), tmp_path / "vit.safetensors")
    ours = models.load(f"timm:test_vit2@{tmp_path / 'vit.safetensors'}", MINI)
    transform = create_transform(**resolve_model_data_config(theirs), is_training=False)
    rgb = [image.convert("RGB") for image in awkward_images]  # timm's loaders convert before the transform
    with torch.no_grad():
        expected = theirs(torch.stack([transform(image) for image in rgb]))
        assert torch.allclose(ours.logits(pixels(ours, awkward_images)), expected, atol=1e-4)


def test_a_training_checkpoint_loads_like_its_bare_weights(tmp_path):
    net = timm.create_model("test_resnet", num_classes=24)
    weights = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "training.pt")
    save_file(net.state_dict(), tmp_path / "bare.safetensors")
    one, other = (
        models.load(f"timm:test_resnet@{tmp_path / name}", MINI) for name in ("training.pt", "bare.safetensors")
    )
    assert one.fingerprint == other.fingerprint


def test_the_fingerprint_changes_with_a_single_weight(tmp_path, supervised):
    net = timm.create_model("test_resnet", num_classes=24)
    prints = set()
    for step in (0.0, 1e-3):
        net.fc.bias.data[0] += step
        save_file(net.state_dict(), tmp_path / "net.safetensors")
        prints.add(models.load(f"timm:test_resnet@{tmp_path / 'net.safetensors'}", MINI).fingerprint)
    assert len(prints) == 2


def test_weights_are_frozen_and_images_are_not(supervised):
    images = torch.rand(2, 3, 64, 64).requires_grad_()
    supervised.logits(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert not supervised.training
    assert not any(p.requires_grad for p in supervised.parameters())


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_images_outside_the_unit_interval_are_refused(supervised, value):
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        supervised.logits(torch.full((1, 3, 64, 64), value))


def test_another_resolution_is_refused(supervised):
    with pytest.raises(InputError, match="must have the shape"):
        supervised.logits(torch.rand(1, 3, 32, 32))


def test_logits_that_are_not_finite_have_no_top_class(supervised):
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        predictions_of(supervised, torch.tensor([[0.0, float("nan")]]))


def saved(tmp_path, name="checkpoint.pt", **changes):
    """A checkpoint of test_resnet with some of its tensors replaced."""
    weights = timm.create_model("test_resnet", num_classes=24).state_dict() | changes
    torch.save(weights, tmp_path / name)
    return tmp_path / name


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_a_checkpoint_that_would_execute_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pt"
    file.write_bytes(pickle.dumps({"state_dict": Malicious()}))
    torch.save({"state_dict": Malicious()}, tmp_path / "evil-zip.pt")
    for name in ("evil.pt", "evil-zip.pt"):
        for spec in (f"timm:test_resnet@{tmp_path / name}", f"open_clip:{mini.CLIP_ARCHITECTURE}@{tmp_path / name}"):
            with pytest.raises(InputError, match="without executing code"):
                models.load(spec, MINI)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", ["timm:test_resnet", f"open_clip:{mini.CLIP_ARCHITECTURE}"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, kind, content, ending):
    file = tmp_path / f"x{ending}"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        models.load(f"{kind}@{file}", MINI)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_architecture_is_named_with_keys(tmp_path):
    file = saved(tmp_path)
    for spec, key in (
        (f"timm:test_vit@{file}", "cls_token"),
        (f"open_clip:{mini.CLIP_ARCHITECTURE}@{file}", "positional"),
    ):
        with pytest.raises(InputError, match="does not fit") as error:
            models.load(spec, MINI)
        assert key in str(error.value)


def test_a_wrong_class_count_is_named(tmp_path):
    file = saved(tmp_path, **{"fc.weight": torch.zeros(10, 96), "fc.bias": torch.zeros(10)})
    with pytest.raises(InputError, match="does not fit") as error:
        models.load(f"timm:test_resnet@{file}", MINI)
    assert "10" in str(error.value)
    assert "24" in str(error.value)


def test_nan_weights_are_found_before_the_first_image(tmp_path):
    file = saved(tmp_path, **{"fc.bias": torch.full((24,), float("nan"))})
    with pytest.raises(InputError, match="NaN or infinite"):
        models.load(f"timm:test_resnet@{file}", MINI)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("open_clip:ViT-B-23/openai", "did you mean 'ViT-B-32'"),
        ("open_clip:ViT-B-32/opnai", "did you mean 'openai'"),
        ("timm:resnet_50", "did you mean 'resnet50'"),
        ("python:no.such.module:factory", "MODULE:FACTORY"),
        ("python:models.lite:lite9", "MODULE:FACTORY"),
    ],
)
def test_unknown_names_come_with_the_nearest(spec, says):
    with pytest.raises(InputError) as error:
        models.load(spec, MINI)
    assert says in str(error.value)


@pytest.mark.parametrize("spec", ["open_clip:ViT-B-32/openai", "timm:resnet50.a1_in1k", "open_clip:hf-hub:org/name"])
def test_a_hub_that_can_not_be_reached_is_named_with_the_mend(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(InputError, match="its weights can't be had") as error:
        models.load(spec, class_list("imagenet"))
    assert "@FILE" in str(error.value)


def test_weights_by_order_need_the_same_shapes():
    ours = {"a": torch.zeros(2), "a.num_batches_tracked": torch.tensor(0), "b": torch.zeros(3)}
    assert by_order({"x": torch.ones(2), "y": torch.ones(3)}, ours)["b"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="1 tensors where 2"):
        by_order({"x": torch.ones(2)}, ours)
    with pytest.raises(ValueError, match="b has the shape"):
        by_order({"x": torch.ones(2), "y": torch.ones(4)}, ours)


def test_imagenet_has_its_wnids_in_order_and_open_clips_names():
    imagenet = class_list("imagenet")
    assert len(imagenet) == 1000
    assert list(imagenet.keys) == sorted(imagenet.keys)
    assert (imagenet.keys[0], imagenet.names[0]) == ("n01440764", "tench")
