"""The whole path from a file to logits equals the libraries' own, for every kind of model, on awkward images."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from clip_robustness import models
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import read_image
from clip_robustness.models import embedded

MINI = class_list("mini")
SMALL = ClassList("small", ("a", "b", "c"), ("square", "blue disc", "anemone fish"))
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGS = {
    "vit": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "custom text": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "none"},
        "text_cfg": TEXT | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
    "coca": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT | {"attn_pooler_heads": 2},
    },
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Not square, smaller than any model's input, grey, with alpha, a palette, CMYK, turned by EXIF."""
    folder = tmp_path_factory.mktemp("awkward")
    noise = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    image = Image.fromarray(noise).resize((200, 150))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "wide.png")
    image.resize((31, 57)).save(folder / "small.png")
    image.convert("L").save(folder / "grey.jpg")
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("P").save(folder / "palette.gif")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "turned.jpg", exif=turned)
    return sorted(folder.iterdir())


def ours(spec, classes, files):
    classifier = models.load(spec, classes)
    pixels = np.stack([np.asarray(classifier.geometry(read_image(file))) for file in files])
    with torch.inference_mode():
        return classifier.logits(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)


def close(one, other):
    return torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def open_clips_own(net, transform, tokenizer, classes, files):
    """As its documentation does it: transform, zero-shot classifier, scaled cosine."""
    net.eval()
    with torch.no_grad():
        head = open_clip.build_zero_shot_classifier(
            net, tokenizer, classes.names, open_clip.OPENAI_IMAGENET_TEMPLATES, num_classes_per_batch=4
        )
        batch = torch.stack([transform(Image.open(file)) for file in files])
        logits = net.logit_scale.exp() * net.encode_image(batch, normalize=True) @ head
        return logits if net.logit_bias is None else logits + net.logit_bias


@pytest.fixture(params=list(CONFIGS))
def local_dir(request, tmp_path, monkeypatch):
    """A folder as open_clip's push to the hub leaves it, with random weights; its own cache of heads."""
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.4, 0.3], "interpolation": "bilinear", "resize_mode": "squash"}
    config = {"model_cfg": CONFIGS[request.param], "preprocess_cfg": preprocess}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    net = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=False)
    for parameter in net.parameters():  # some start at zero, which would hide much
        parameter.data += 0.02 * torch.randn_like(parameter)
    torch.save(net.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    return tmp_path


def test_open_clip_local_dir(local_dir, files):
    name = f"local-dir:{local_dir}"
    net, _, transform = open_clip.create_model_and_transforms(name)
    theirs = open_clips_own(net, transform, open_clip.get_tokenizer(name), SMALL, files)
    assert close(ours(f"open_clip:{name}", SMALL, files), theirs)


def test_open_clip_file(local_dir, files):
    # a name with siglip in it would make open_clip fetch another tokenizer
    arch, weights = f"arch-{len(open_clip.list_models())}", local_dir / "open_clip_pytorch_model.bin"
    config = json.loads((local_dir / "open_clip_config.json").read_text())["model_cfg"]
    (local_dir / f"{arch}.json").write_text(json.dumps(config))
    open_clip.add_model_config(local_dir / f"{arch}.json")
    net, _, transform = open_clip.create_model_and_transforms(arch, str(weights))
    theirs = open_clips_own(net, transform, open_clip.get_tokenizer(arch), SMALL, files)
    assert close(ours(f"open_clip:{arch}@{weights}", SMALL, files), theirs)
    if "timm_model_name" in config["vision_cfg"]:  # open_clip itself can't load a file into one of another size
        assert ours(f"open_clip:{arch}@{weights}?image_size=64", SMALL, files).isfinite().all()
    else:
        net, _, transform = open_clip.create_model_and_transforms(arch, str(weights), force_image_size=64)
        theirs = open_clips_own(net, transform, open_clip.get_tokenizer(arch), SMALL, files)
        assert close(ours(f"open_clip:{arch}@{weights}?image_size=64", SMALL, files), theirs)


def test_the_embedded_clip(files):
    net, _, transform = open_clip.create_model_and_transforms(embedded.CLIP_ARCHITECTURE, str(embedded.CLIP_WEIGHTS))
    theirs = open_clips_own(net, transform, open_clip.get_tokenizer(embedded.CLIP_ARCHITECTURE), MINI, files)
    assert close(ours("mini:clip", MINI, files), theirs)


@pytest.mark.parametrize("local_dir", ["vit", "siglip"], indirect=True)
def test_open_clip_at_another_size_with_other_preprocessing(local_dir, files):
    name = f"local-dir:{local_dir}"
    net, _, transform = open_clip.create_model_and_transforms(
        name, force_image_size=64, image_mean=(0.5,) * 3, image_resize_mode="shortest", image_interpolation="bicubic"
    )
    theirs = open_clips_own(net, transform, open_clip.get_tokenizer(name), SMALL, files)
    options = "image_size=64&mean=0.5,0.5,0.5&resize_mode=shortest&interpolation=bicubic"
    assert close(ours(f"open_clip:{name}?{options}", SMALL, files), theirs)


@pytest.mark.parametrize("arch", ["test_vit2", "test_resnet", "test_efficientnet", "tf_efficientnet_lite0"])
def test_timm_file(arch, tmp_path, files):
    torch.manual_seed(0)
    net = timm.create_model(arch, num_classes=24).eval()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    transform = create_transform(**resolve_model_data_config(net), is_training=False)
    with torch.no_grad():
        theirs = net(torch.stack([transform(Image.open(file).convert("RGB")) for file in files]))
    assert close(ours(f"timm:{arch}@{tmp_path / 'net.safetensors'}", MINI, files), theirs)


@pytest.mark.parametrize(
    ("arch", "tag"),
    [("alexnet", ""), ("resnet18", ""), ("mobilenet_v3_small", "/IMAGENET1K_V1"), ("squeezenet1_1", "")],
)
def test_torchvision_file(arch, tag, tmp_path, files):
    torch.manual_seed(0)
    net = torchvision.models.get_model(arch, num_classes=24).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    transform = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    with torch.no_grad():
        theirs = net(torch.stack([transform(Image.open(file).convert("RGB")) for file in files]))
    assert close(ours(f"torchvision:{arch}{tag}@{tmp_path / 'net.pth'}", MINI, files), theirs)


def test_a_tokenizer_of_transformers(tmp_path, monkeypatch, files):
    """SigLIP and multilingual models bring one, from the hub or from their folder."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    words = sorted({word for t in open_clip.OPENAI_IMAGENET_TEMPLATES for n in SMALL.names for word in t(n).split()})
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "</s>", *words])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>").save_pretrained(
        tmp_path
    )
    text = CONFIGS["siglip"]["text_cfg"] | {"hf_tokenizer_name": "org/name", "vocab_size": len(vocabulary)}
    config = {"model_cfg": CONFIGS["siglip"] | {"text_cfg": text}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    name = f"local-dir:{tmp_path}"
    save_file(open_clip.create_model(name, load_weights=False).state_dict(), tmp_path / "model.safetensors")
    net, _, transform = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    assert tokenizer(["blue disc"])[0, :2].tolist() == [vocabulary["blue"], vocabulary["disc"]]
    assert close(ours(f"open_clip:{name}", SMALL, files), open_clips_own(net, transform, tokenizer, SMALL, files))
