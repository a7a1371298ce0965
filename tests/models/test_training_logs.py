"""What a checkpoint's training says of size, normalisation and resizing is used, and what nothing says is a warning."""

import json
import re
import warnings
from argparse import Namespace

import open_clip
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import googlenet, resnet18, vit_b_16

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import ModelWarning
from clip_robustness.models import InputError, embedded
from clip_robustness.models.clip_plan import plan_of
from clip_robustness.models.spec import parse

MINI = class_list("mini")
HALF = (0.5, 0.5, 0.5)
LOG = """model: mini-vit
force_quick_gelu: False
force_patch_dropout: 0.25
force_image_size: [48]
force_context_length: 20
image_mean: [0.5, 0.5, 0.5]
image_std: [0.25]
image_interpolation: bilinear
image_resize_mode: squash
train_data: /data/{00000..00099}.tar
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", autouse=True)
def architecture(tmp_path_factory):
    """A small vision transformer, of 32 px in patches of 8 and texts of 16 tokens."""
    file = tmp_path_factory.mktemp("architecture") / "mini-vit.json"
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    file.write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(file)


@pytest.fixture
def run(tmp_path):
    """A run of open_clip's training at 48 px and 20 tokens."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    net = open_clip.create_model("mini-vit", force_image_size=48, force_context_length=20)
    torch.save({"state_dict": net.state_dict()}, folder / "epoch_1.pt")
    (folder.parent / "params.txt").write_text(LOG)
    return folder / "epoch_1.pt"


def load(spec, classes=MINI):
    """The model, and what is said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = models.load(spec, classes)
    return model, [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]


def colours(model):
    return tuple(model.mean.flatten().tolist()), tuple(model.std.flatten().tolist())


def test_open_clips_log_says_how_the_model_is_built_and_fed(run):
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert said == []
    assert (model.image_size, colours(model)) == (48, (HALF, (0.25, 0.25, 0.25)))
    assert (model.interpolation, model.crop) == ("bilinear", "squashed")
    picture = Image.effect_noise((64, 32), 80).convert("RGB")
    assert list(model.geometry(picture).getdata()) == list(
        picture.resize((48, 48), Image.Resampling.BILINEAR).getdata()
    )


def test_weights_at_their_own_size_are_not_resized(run):
    state = torch.load(run)["state_dict"]
    model, _ = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert torch.equal(model.net.clip.visual.positional_embedding, state["visual.positional_embedding"])
    from clip_robustness.models.zero_shot import load_clip

    clip = load_clip(parse(f"open_clip:mini-vit@{run}"), torch.device("cpu"))
    assert torch.equal(clip.net.positional_embedding, state["positional_embedding"])
    assert clip.tokenizer("word " * 30).shape == (1, 20)


def test_options_of_the_spec_come_before_the_log(run):
    options = "image_size=64&mean=0.1,0.2,0.3&std=1,1,1&interpolation=bicubic&resize_mode=longest"
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain&{options}")
    assert (model.image_size, model.interpolation, model.crop) == (64, "bicubic", "longest side, padded")
    assert colours(model) == (pytest.approx((0.1, 0.2, 0.3)), (1, 1, 1))
    assert [re.sub(".*: its", "its", text) for text in said] == [
        "its positional embedding is of 48 px and resized to 64, ?image_size=48 keeps it"
    ]


def test_a_log_of_other_sizes_than_the_weights_resizes_and_says_so(run):
    log = run.parent.parent / "params.txt"
    log.write_text(LOG.replace("[48]", "32").replace("length: 20", "length: 12"))
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert model.image_size == 32
    assert [re.sub(".*: its", "its", text) for text in said] == [
        "its positional embedding is of 48 px and resized to 32, ?image_size=48 keeps it",
        "its text's positional embedding is of 20 tokens and resized to 12",
    ]


def test_without_a_log_the_weights_tell_their_sizes_and_the_rest_is_assumed_aloud(run):
    (run.parent.parent / "params.txt").unlink()
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert model.image_size == 48
    assert len(said) == 3
    assert "of 48 px, not of the architecture's 32; 48 px are taken" in said[0]
    assert "of 20 tokens, not of the architecture's 16" in said[1]
    assert "assumed are mean 0.4814547,0.4578275,0.4082107, std 0.2686295,0.2613026,0.2757771;" in said[2]
    _, said = load(f"open_clip:mini-vit@{run}?prompts=plain&mean=0.5,0.5,0.5&std=0.5,0.5,0.5&image_size=48")
    assert [text for text in said if "assumed" in text or "px" in text] == []


def test_the_size_of_a_tower_without_positions_is_assumed_aloud(tmp_path):
    torch.save(load_file(embedded.CLIP_WEIGHTS), tmp_path / "x.pt")
    _, said = load(f"open_clip:mini-clip@{tmp_path / 'x.pt'}?prompts=plain")
    assert len(said) == 1
    assert "64 px" not in said[0], "its attention pool has positions"
    config = open_clip.get_model_config("ViT-B-32") | {"vision_cfg": {"timm_model_name": "resnet18", "image_size": 224}}
    with pytest.warns(ModelWarning, match=r"assumed are images of 224 px \(image_size\), mean"):
        plan_of(parse(f"open_clip:ViT-B-32@{tmp_path / 'x.pt'}?quick_gelu=false"), config, {}, {})


def test_a_log_beside_the_file_counts_and_one_elsewhere_does_not(run, tmp_path):
    moved = run.rename(tmp_path / "epoch_1.pt")
    _, said = load(f"open_clip:mini-vit@{moved}?prompts=plain")
    assert any("no params.txt lies beside it" in text for text in said)
    (run.parent.parent / "params.txt").rename(tmp_path / "params.txt")
    assert load(f"open_clip:mini-vit@{moved}?prompts=plain")[1] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("image_mean: [0.5, 0.5]", "is not three numbers"),
        ("image_mean: half", "is not three numbers"),
        ("image_mean: [123.7, 116.3, 103.5]", "is not three numbers between 0 and 1"),
        ("image_mean: [True, False, True]", "is not three numbers"),
        ("image_std: [0, 0, 0]", "is not three numbers above 0"),
        ("image_std: [-0.5]", "is not three numbers between 0 and 1"),
        ("image_interpolation: lanczos", "is not one of random, bicubic, bilinear"),
        ("image_resize_mode: crop", "is not one of shortest, longest, squash"),
        ("force_image_size: True", "is not a whole number"),
        ("force_image_size: [48, 64]", "is not the size of a square image"),
        ("force_image_size: big", "is not a whole number"),
        ("force_context_length: 20.5", "is not a whole number"),
        ("force_quick_gelu: maybe", "is not True or False"),
    ],
)
def test_a_log_that_can_not_be_meant_is_refused(run, line, says):
    log = run.parent.parent / "params.txt"
    log.write_text(LOG + line)
    with pytest.raises(InputError, match=re.escape(f"{log}: '{line}' {says}")):
        load(f"open_clip:mini-vit@{run}?prompts=plain")


def test_a_sigmoid_run_and_a_text_tower_of_its_own(run):
    """--siglip adds a bias, --force-custom-text moves the text tower's keys."""
    net = open_clip.create_model("mini-vit", force_custom_text=True, init_logit_bias=-10.0)
    torch.save({"state_dict": net.state_dict()}, run)
    (run.parent.parent / "params.txt").write_text("model: mini-vit\nforce_custom_text: True\nsiglip: True\n")
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert said == []
    assert float(model.net.clip.logit_bias) == -10
    (run.parent.parent / "params.txt").unlink()
    assert float(load(f"open_clip:mini-vit@{run}?prompts=plain")[0].net.clip.logit_bias) == -10


@pytest.mark.parametrize(
    ("spec", "log", "expected"),
    [
        ("ViT-B-16-SigLIP", "pretrained: webli", {"mean": HALF, "resize_mode": "squash"}),
        ("ViT-B-16-SigLIP", "pretrained: webli\nimage_mean: [0, 0, 0]", {"mean": (0, 0, 0), "resize_mode": "squash"}),
        ("ViT-B-16-SigLIP", "pretrained: ", {}),
    ],
)
def test_training_that_starts_from_published_weights_has_their_preprocessing(tmp_path, spec, log, expected):
    (tmp_path / "params.txt").write_text(f"model: {spec}\n{log}\n")
    (tmp_path / "x.pt").touch()
    found = plan_of(parse(f"open_clip:{spec}@{tmp_path / 'x.pt'}"), open_clip.get_model_config(spec), {}, {})
    assert {key: found.arguments["force_preprocess_cfg"].get(key) for key in expected} == expected


def test_training_that_starts_from_openais_weights_does_not_tell_its_activation(tmp_path):
    (tmp_path / "params.txt").write_text("model: ViT-B-32\npretrained: openai\nforce_quick_gelu: False\n")
    (tmp_path / "x.pt").touch()
    spec, config = f"open_clip:ViT-B-32@{tmp_path / 'x.pt'}", open_clip.get_model_config("ViT-B-32")
    with pytest.warns(ModelWarning, match="before 3.0 trains on with QuickGELU"):
        assert not plan_of(parse(spec), config, {}, {}).arguments["force_quick_gelu"]
    assert plan_of(parse(f"{spec}?quick_gelu=true"), config, {}, {}).arguments["force_quick_gelu"]


def test_published_weights_at_another_size_say_so(monkeypatch, tmp_path):
    """A tag's, whose file is not read here."""
    from clip_robustness.models import zero_shot

    original = open_clip.create_model

    def without_weights(name, **arguments):
        return original(name, **arguments | {"pretrained": None, "require_pretrained": False})

    monkeypatch.setattr(zero_shot, "create_model", without_weights)
    monkeypatch.setattr(zero_shot, "_check_names", lambda _: None)
    with pytest.warns(ModelWarning, match="its positional embedding is resized to 40 px"):
        zero_shot.load_clip(parse("open_clip:mini-vit/tag?image_size=40"), torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        zero_shot.load_clip(parse("open_clip:mini-vit/tag?image_size=32"), torch.device("cpu"))


def test_the_preprocessing_of_a_folder_is_its_own(tmp_path):
    config = open_clip.get_model_config("mini-vit")
    prepared = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepared}))
    torch.save(open_clip.create_model("mini-vit").state_dict(), tmp_path / "model.bin")
    model, said = load(f"open_clip:local-dir:{tmp_path}?prompts=plain")
    assert said == []
    assert (colours(model), model.crop) == ((HALF, HALF), "squashed")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    assert "assumed are mean" in " ".join(load(f"open_clip:local-dir:{tmp_path}?prompts=plain")[1])


# timm and torchvision

TIMM = {"model": "test_vit", "num_classes": 24, "mean": None, "std": None, "crop_pct": None, "interpolation": ""}


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return {size: timm.create_model("test_vit", num_classes=24, img_size=size).state_dict() for size in (160, 96)}


def test_the_arguments_of_timms_training_are_used(tmp_path, vit):
    own = {"img_size": 96, "mean": [0.5], "std": [0.25, 0.25, 0.25], "crop_pct": 1.0, "interpolation": "bilinear"}
    arguments = TIMM | own | {"lr": 0.1, "model_kwargs": {"img_size": 96}, "device": "cuda:0"}
    torch.save({"state_dict": vit[96], "args": Namespace(**arguments)}, tmp_path / "x.pth.tar")
    torch.save({"state_dict": vit[96]}, tmp_path / "bare.pth.tar")
    inside, said = load(f"timm:test_vit@{tmp_path / 'x.pth.tar'}")
    (tmp_path / "args.yaml").write_text(yaml.safe_dump(arguments))
    beside, said_beside = load(f"timm:test_vit@{tmp_path / 'bare.pth.tar'}")
    assert said == said_beside == []
    for model in (inside, beside):
        assert (model.image_size, colours(model)) == (96, (HALF, (0.25, 0.25, 0.25)))
        assert (model.interpolation, model.crop) == ("bilinear", "center, crop_pct 1")
        assert torch.equal(model.net.pos_embed, vit[96]["pos_embed"])


def test_what_timm_writes_beside_weights_for_the_hub_is_used(tmp_path, vit):
    torch.save(vit[96], tmp_path / "x.pt")
    prepared = {"input_size": [3, 96, 96], "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 1.0}
    config = {"architecture": "test_vit", "num_classes": 24, "pretrained_cfg": prepared | {"interpolation": "bilinear"}}

    def loaded(**more):
        (tmp_path / "config.json").write_text(json.dumps(config | more))
        return load(f"timm:test_vit@{tmp_path / 'x.pt'}")

    model, said = loaded(label_names=list(MINI.names))
    assert said == []
    assert (model.image_size, colours(model)) == (96, (HALF, (0.25, 0.25, 0.25)))
    assert (model.interpolation, model.crop) == ("bilinear", "center, crop_pct 1")
    with pytest.raises(
        InputError, match=r"its config\.json calls output 0 '.*', which the suite's class list 'mini' has"
    ):
        loaded(label_names=list(MINI.names[::-1]))
    with pytest.raises(InputError, match="say that the model is test_resnet"):
        loaded(architecture="test_resnet")
    assert "assumed are mean" in " ".join(
        loaded(pretrained_cfg=None)[1]
    )  # as transformers' are, which say nothing here


def test_the_epsilon_of_timms_training_is_used(tmp_path):
    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet", num_classes=24, bn_eps=0.1).eval()
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.05, 0.3)
    arguments = Namespace(model="test_efficientnet", mean=None, std=None, img_size=None, bn_eps=0.1)
    torch.save({"state_dict": net.state_dict(), "args": arguments}, tmp_path / "x.pth")
    model = models.load(f"timm:test_efficientnet@{tmp_path / 'x.pth'}", MINI)
    images = torch.rand(2, 3, model.image_size, model.image_size)
    with torch.no_grad():
        theirs = net((images - model.mean) / model.std)
    assert torch.allclose(model(images), theirs, atol=1e-4 * float(theirs.abs().max()))


def test_names_in_capitals_are_those_without(run, tmp_path, vit):
    (run.parent.parent / "params.txt").write_text(LOG.replace("bilinear", "Bilinear").replace("squash", "SQUASH"))
    model, said = load(f"open_clip:mini-vit@{run}?prompts=plain")
    assert (model.interpolation, model.crop, said) == ("bilinear", "squashed", [])
    torch.save({"state_dict": vit[160], "args": Namespace(**TIMM | {"interpolation": "Bicubic"})}, tmp_path / "x.pth")
    assert load(f"timm:test_vit@{tmp_path / 'x.pth'}")[0].interpolation == "bicubic"


def test_arguments_that_leave_the_default_are_no_assumption(tmp_path, vit):
    torch.save({"state_dict": vit[160], "args": Namespace(**TIMM, img_size=None)}, tmp_path / "x.pth.tar")
    assert load(f"timm:test_vit@{tmp_path / 'x.pth.tar'}")[1] == []


def test_what_a_bare_file_of_timm_does_not_say_is_assumed_aloud(tmp_path, vit):
    """DeiT's weights in a plain ViT, whose mean is another."""
    torch.save({"model": vit[96]}, tmp_path / "x.pth")
    model, said = load(f"timm:test_vit@{tmp_path / 'x.pth'}")
    assert model.image_size == 96, "the weights tell"
    assert "assumed are mean 0.5,0.5,0.5, std 0.5,0.5,0.5;" in said[0]
    assert load(f"timm:test_vit@{tmp_path / 'x.pth'}?mean=0.485,0.456,0.406&std=0.229,0.224,0.225")[1] == []
    assert load(f"timm:test_vit.r160_in1k@{tmp_path / 'x.pth'}")[1] == []
    net = timm.create_model("test_resnet", num_classes=24)
    torch.save(net.state_dict(), tmp_path / "x.pth")
    assert "assumed are 160 px, mean" in load(f"timm:test_resnet@{tmp_path / 'x.pth'}")[1][0]


def test_positions_of_timm_that_are_resized_are_told(tmp_path, vit):
    torch.save({"state_dict": vit[96], "args": Namespace(**TIMM, img_size=None)}, tmp_path / "x.pth")
    model, said = load(f"timm:test_vit@{tmp_path / 'x.pth'}?image_size=160")
    assert model.image_size == 160
    assert len(said) == 1
    assert "its positional embedding is resized to 160 px" in said[0]


def test_arguments_of_deit_and_mae(tmp_path, vit):
    """A whole number for the size, no mean: their scripts have it in the code."""
    torch.save({"model": vit[96], "args": Namespace(model="vit_base_patch16", input_size=96)}, tmp_path / "x.pth")
    model, said = load(f"timm:test_vit@{tmp_path / 'x.pth'}")
    assert model.image_size == 96
    assert "say that the model is vit_base_patch16" in said[0]
    assert "assumed are mean 0.5" in said[1]


def test_arguments_of_another_model_are_believed(tmp_path, vit):
    torch.save({"state_dict": vit[160], "args": Namespace(**TIMM | {"model": "resnet50"})}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="arguments of its training say that the model is resnet50"):
        load(f"timm:test_vit@{tmp_path / 'x.pth'}")


@pytest.mark.parametrize(
    ("argument", "says"),
    [({"img_size": "big"}, "whole number"), ({"mean": [1, 2]}, "three numbers"), ({"crop_pct": "x"}, "a share"),
     ({"mean": [124, 116, 104]}, "between 0 and 1"), ({"std": [0, 0, 0]}, "above 0"),
     ({"crop_mode": "x"}, "one of center"),
     ({"interpolation": "cubic"}, "one of random, bicubic"), ({"val_resize_size": 0}, "whole number"),
     ({"input_size": [3, 96, 128]}, "square"), ({"model_kwargs": 3}, "arguments of a network")],
)  # fmt: skip
def test_arguments_that_can_not_be_meant_are_refused(tmp_path, vit, argument, says):
    torch.save({"state_dict": vit[160], "args": Namespace(**argument)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=says) as error:
        load(f"timm:test_vit@{tmp_path / 'x.pth'}")
    assert f"x.pth: the training's argument '{next(iter(argument))}=" in str(error.value)


def test_arguments_name_no_files_to_load(tmp_path, vit):
    torch.save({"a": 1}, tmp_path / "other.pth")
    kwargs = {"checkpoint_path": str(tmp_path / "other.pth"), "pretrained": True, "pretrained_cfg": "x"}
    torch.save(
        {"state_dict": vit[160], "args": Namespace(**TIMM, img_size=None, model_kwargs=kwargs)}, tmp_path / "x.pth"
    )
    assert load(f"timm:test_vit@{tmp_path / 'x.pth'}")[1] == []


def test_arguments_of_torchvisions_training(tmp_path):
    arguments = Namespace(model="resnet18", val_crop_size=96, val_resize_size=128, interpolation="bicubic", lr=0.1)
    state = resnet18(num_classes=24).state_dict()
    torch.save({"model": state, "args": arguments, "epoch": 3}, tmp_path / "model_3.pth")
    model, said = load(f"torchvision:resnet18@{tmp_path / 'model_3.pth'}")
    assert said == []
    assert (model.image_size, model.interpolation, model.crop) == (96, "bicubic", "center, crop_pct 0.75")
    torch.save(state, tmp_path / "model_3.pth")
    model, said = load(f"torchvision:resnet18@{tmp_path / 'model_3.pth'}")
    assert "assumed are 224 px, mean 0.485,0.456,0.406" in said[0]
    assert load(f"torchvision:resnet18/IMAGENET1K_V1@{tmp_path / 'model_3.pth'}")[1] == []


def test_a_vision_transformer_of_torchvision_at_another_size(tmp_path):
    net = vit_b_16(num_classes=24, image_size=64)
    torch.nn.init.normal_(net.heads.head.weight)
    torch.save(net.state_dict(), tmp_path / "x.pth")
    model, said = load(f"torchvision:vit_b_16@{tmp_path / 'x.pth'}")
    assert model.image_size == 64
    assert "assumed are mean" in said[0]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("auxiliary", [True, False])
def test_googlenet_normalises_anew_where_it_descends_from_published_weights(tmp_path, auxiliary):
    """No weight tells; and the heads that only help training need not be there."""
    torch.manual_seed(0)
    net = googlenet(num_classes=24, init_weights=False, aux_logits=auxiliary).eval()
    for value in net.state_dict().values():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    torch.save(net.state_dict(), tmp_path / "x.pth")
    images = torch.rand(2, 3, 64, 64)
    for tag, transforms in (("", False), ("/DEFAULT", True)):
        model, said = load(f"torchvision:googlenet{tag}@{tmp_path / 'x.pth'}?image_size=64")
        assert [text for text in said if "transform_input" in text] == ([] if tag else said[:1])
        net.transform_input = transforms
        with torch.no_grad():
            theirs = net((images - model.mean) / model.std)
        assert torch.allclose(model(images), theirs, atol=1e-4 * float(theirs.abs().max()))
        net.transform_input = not transforms
        assert not torch.allclose(model(images), net((images - model.mean) / model.std), rtol=1e-2)


def of_swin(weights):
    """As its authors call them: a stage ends in its downsampling, timm's next one begins with it."""
    found = {
        re.sub(r"layers\.(\d)\.downsample", lambda n: f"layers.{int(n[1]) - 1}.downsample", key): value
        for key, value in weights.items()
    }
    found = {key.replace("head.fc.", "head."): value for key, value in found.items()}
    return found | {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64)}


def of_convnext(weights):
    renamed = {}
    for key, value in weights.items():
        key = key.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = re.sub(r"stages\.(\d)\.blocks\.", r"stages.\1.", key)
        key = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
        renamed[key.replace("head.fc.", "head.").replace("head.norm", "norm")] = value
    return renamed


def of_deit(weights):
    return {re.sub(r"ls(\d)\.gamma", r"gamma_\1", key): value for key, value in weights.items()}


SMALL = {
    "swin_tiny_patch4_window7_224": (of_swin, {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}),
    "convnext_atto_ols": (of_convnext, {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}),
    "deit3_small_patch16_224": (of_deit, {"embed_dim": 32, "depth": 1, "num_heads": 2}),
}


@pytest.mark.parametrize("name", SMALL)
def test_names_of_the_authors_are_read_by_timms_own_filter(tmp_path, name):
    theirs, small = SMALL[name]
    net = timm.create_model(name, num_classes=24, **small).eval()
    torch.save({"model": theirs(net.state_dict()), "args": Namespace(model_kwargs=small)}, tmp_path / "x.pth")
    model, _ = load(f"timm:{name}@{tmp_path / 'x.pth'}?mean=0,0,0&std=1,1,1")
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(model(images), net(images), atol=1e-5)


def test_weights_that_timms_filter_would_drop_are_refused(tmp_path):
    """A layer before the head: without it the logits are others."""
    name, (theirs, small) = "deit3_small_patch16_224", SMALL["deit3_small_patch16_224"]
    net = timm.create_model(name, num_classes=24, **small)
    weights = theirs(net.state_dict()) | {"pre_logits.fc.weight": torch.ones(32, 32)}
    torch.save({"model": weights, "args": Namespace(model_kwargs=small)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"does not fit deit3_small_patch16_224: 2 keys are missing"):
        load(f"timm:{name}@{tmp_path / 'x.pth'}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"in_chans": 1}, "images have 1 channels"),
        ({"model_kwargs": {"in_chans": 1}}, "images have 1 channels"),
        ({"num_classes": 100}, "it has 100 classes .num_classes., its weights have 24"),
    ],
)
def test_arguments_that_contradict_the_weights_are_refused(tmp_path, arguments, says):
    net = timm.create_model("test_resnet", num_classes=24)
    torch.save({"state_dict": net.state_dict(), "args": Namespace(**arguments)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=says):
        load(f"timm:test_resnet@{tmp_path / 'x.pth'}")
    torch.save({"state_dict": net.state_dict(), "args": Namespace(in_chans=3, num_classes=24)}, tmp_path / "x.pth")
    assert load(f"timm:test_resnet@{tmp_path / 'x.pth'}")
