"""Loading: what every classifier guarantees, and bad specs and checkpoints."""

import json
import pickle

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v3_small, resnet18

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.models import InputError, embedded
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.lite import by_order

MINI, IMAGENET = class_list("mini"), class_list("imagenet")


@pytest.fixture(scope="module")
def clip() -> Classifier:
    return models.load("mini:clip", MINI)


def test_one_checkpoint_in_two_architectures_has_two_fingerprints(tmp_path, monkeypatch, clip):
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text()) | {"quick_gelu": True}
    (tmp_path / "mini-quick.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "mini-quick.json")
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    assert models.load(f"open_clip:mini-quick@{embedded.CLIP_WEIGHTS}", MINI).fingerprint != clip.fingerprint


def wrapped(weights, *prefixes):
    for prefix in prefixes:
        weights = {f"{prefix}{key}": value for key, value in weights.items()}
    return weights


@pytest.mark.parametrize(
    "spec", ["timm:test_resnet", f"open_clip:{embedded.CLIP_ARCHITECTURE}", "torchvision:mobilenet_v3_small"]
)
def test_training_checkpoints_load_like_bare_weights(spec, tmp_path):
    if spec.startswith("open_clip"):
        weights = load_file(embedded.CLIP_WEIGHTS)
    else:
        name, num_classes = spec.partition(":")[2], len(MINI)
        net = (
            timm.create_model(name, num_classes=num_classes)
            if "timm" in spec
            else mobilenet_v3_small(num_classes=num_classes)
        )
        weights = net.state_dict()
    zeros = {key: torch.zeros_like(value) for key, value in weights.items()}
    save_file(weights, tmp_path / "bare.safetensors")
    torch.save({"state_dict": wrapped(weights, "module."), "epoch": 3, "optimizer": {}}, tmp_path / "ddp.pt")
    torch.save({"model": wrapped(weights, "_orig_mod.", "module.")}, tmp_path / "compiled.pt")
    torch.save({"state_dict": wrapped(weights, "model.", "module.")}, tmp_path / "framework.ckpt")
    torch.save({"state_dict": zeros, "state_dict_ema": weights}, tmp_path / "averaged.pt")
    names = ("bare.safetensors", "ddp.pt", "compiled.pt", "framework.ckpt", "averaged.pt")
    assert len({models.load(f"{spec}@{tmp_path / name}", MINI).fingerprint for name in names}) == 1
    with pytest.raises(InputError, match=r"constant|NaN"):  # the other weights of the last one
        models.load(f"{spec}@{tmp_path / 'averaged.pt'}?ema=false", MINI)


def test_a_tensor_that_is_collapsed_gives_constant_logits(tmp_path):
    file = saved(tmp_path, **{"fc.weight": torch.zeros(24, 96), "fc.bias": torch.arange(24.0)})
    with pytest.raises(InputError, match="logits are constant"):
        models.load(f"timm:test_resnet@{file}", MINI)


def test_a_size_that_the_network_can_not_take_is_named(tmp_path):
    net = timm.create_model("mixer_s32_224", num_classes=24)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="test image does not pass"):
        models.load(f"timm:mixer_s32_224@{tmp_path / 'net.safetensors'}?image_size=96", MINI)


def test_baselines_of_all_of_imagenet_answer_for_some_of_its_classes(tmp_path):
    """Supervised models have a logit for each of 1000 classes; a suite may have ImageNet-A's 200, in any order."""
    (tmp_path / "some.txt").write_text("n02119789\nn01440764\tsome other name for a tench\n")
    some = class_list(str(tmp_path / "some.txt"))
    assert some.names == ("kit fox", "some other name for a tench")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), tmp_path / "net.safetensors")
    full, part = (models.load(f"timm:test_resnet@{tmp_path / 'net.safetensors'}", c) for c in (IMAGENET, some))
    images = torch.rand(2, 3, full.image_size, full.image_size)
    index = IMAGENET.keys.index
    assert torch.equal(part(images), full(images)[:, [index("n02119789"), index("n01440764")]])


def test_the_fingerprint_changes_with_a_single_weight(tmp_path):
    net = timm.create_model("test_resnet", num_classes=24)
    prints = set()
    for step in (0.0, 1e-3):
        net.fc.bias.data[0] += step
        save_file(net.state_dict(), tmp_path / "net.safetensors")
        prints.add(models.load(f"timm:test_resnet@{tmp_path / 'net.safetensors'}", MINI).fingerprint)
    assert len(prints) == 2


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
        for spec in (
            f"timm:test_resnet@{tmp_path / name}",
            f"open_clip:{embedded.CLIP_ARCHITECTURE}@{tmp_path / name}",
        ):
            with pytest.raises(InputError, match="without executing code"):
                models.load(spec, MINI)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", ["timm:test_resnet", f"open_clip:{embedded.CLIP_ARCHITECTURE}"])
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
        (f"open_clip:{embedded.CLIP_ARCHITECTURE}@{file}", "positional"),
    ):
        with pytest.raises(InputError, match="does not fit") as error:
            models.load(spec, MINI)
        assert key in str(error.value)


@pytest.mark.parametrize("kind", ["timm:test_resnet", "torchvision:resnet18"])
def test_a_wrong_class_count_is_named(tmp_path, kind):
    net = timm.create_model("test_resnet", num_classes=10) if "timm" in kind else resnet18(num_classes=10)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"has 10 classes \(fc.weight\), but the suite's class list 'mini' has 24"):
        models.load(f"{kind}@{tmp_path / 'net.safetensors'}", MINI)


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
        ("timm:resnet50.a1_in21k", "did you mean 'resnet50.a1_in1k'"),
        ("torchvision:resnet51", "did you mean 'resnet50'"),
        ("torchvision:resnet50/IMAGENET1K_V3", "did you mean 'IMAGENET1K_V"),
        ("python:no.such.module:factory", "there is no module no in /"),
        ("python:no.such.module:factory", "MODULE:FACTORY"),
        ("python:models.lite:lite9", "MODULE:FACTORY"),
    ],
)
def test_unknown_names_come_with_the_nearest(spec, says):
    with pytest.raises(InputError) as error:
        models.load(spec, MINI)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "spec",
    [
        "open_clip:ViT-B-32/openai",
        "timm:resnet50.a1_in1k",
        "open_clip:hf-hub:org/name",
        "torchvision:alexnet/IMAGENET1K_V1",
    ],
)
def test_a_hub_that_can_not_be_reached_is_named_with_the_mend(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(InputError, match="its weights can't be had") as error:
        models.load(spec, IMAGENET)
    assert "@FILE" in str(error.value)


def test_weights_by_order_need_the_same_shapes():
    ours = {"a": torch.zeros(2), "a.num_batches_tracked": torch.tensor(0), "b": torch.zeros(3)}
    assert by_order({"x": torch.ones(2), "y": torch.ones(3)}, ours)["b"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="1 tensors where 2"):
        by_order({"x": torch.ones(2)}, ours)
    with pytest.raises(ValueError, match="b has the shape"):
        by_order({"x": torch.ones(2), "y": torch.ones(4)}, ours)


def test_imagenet_has_its_wnids_in_order_and_open_clips_names():
    assert len(IMAGENET) == 1000
    assert list(IMAGENET.keys) == sorted(IMAGENET.keys)
    assert (IMAGENET.keys[0], IMAGENET.names[0]) == ("n01440764", "tench")
