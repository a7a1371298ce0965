"""Models of transformers: the logits of open_clip for the same weights, and the pixels of their own processors."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import get_act_layer
from timm.models import VisionTransformer, register_model

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import ModelWarning
from clip_robustness.models import InputError
from clip_robustness.models.features import load_encoder
from clip_robustness.models.spec import parse
from clip_robustness.models.transformers_clip import load_clip

transformers = pytest.importorskip("transformers")
MINI = class_list("mini")
TOWER = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))


def blocks(weights, ours, theirs):
    """Two blocks of open_clip's transformer under transformers' names."""
    found = {}
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for i in range(2):
        block, layer = f"{ours}.resblocks.{i}", f"{theirs}.encoder.layers.{i}"
        for kind in ("weight", "bias"):
            parts = weights[f"{block}.attn.in_proj_{kind}"].chunk(3)
            found |= {f"{layer}.self_attn.{n}_proj.{kind}": part for n, part in zip("qkv", parts, strict=True)}
            found[f"{layer}.self_attn.out_proj.{kind}"] = weights[f"{block}.attn.out_proj.{kind}"]
            found |= {f"{layer}.{new}.{kind}": weights[f"{block}.{old}.{kind}"] for old, new in names.items()}
    return found


def moved(weights, names):
    return {
        f"{new}.{kind}": weights[f"{old}.{kind}"]
        for old, new in names.items()
        for kind in ("weight", "bias")
        if f"{old}.{kind}" in weights
    }


def clip_names(w):
    """open_clip's weights of a CLIP under transformers' names."""
    return {
        **blocks(w, "transformer", "text_model"),
        **blocks(w, "visual.transformer", "vision_model"),
        **moved(
            w,
            {
                "token_embedding": "text_model.embeddings.token_embedding",
                "ln_final": "text_model.final_layer_norm",
                "visual.conv1": "vision_model.embeddings.patch_embedding",
                "visual.ln_pre": "vision_model.pre_layrnorm",
                "visual.ln_post": "vision_model.post_layernorm",
            },
        ),
        "text_model.embeddings.position_embedding.weight": w["positional_embedding"],
        "vision_model.embeddings.class_embedding": w["visual.class_embedding"],
        "vision_model.embeddings.position_embedding.weight": w["visual.positional_embedding"],
        "text_projection.weight": w["text_projection"].T,
        "visual_projection.weight": w["visual.proj"].T,
        "logit_scale": w["logit_scale"],
    }


def siglip_names(w):
    """open_clip's weights of a SigLIP, whose image tower is timm's."""
    found = {
        **blocks(w, "text.transformer", "text_model"),
        **moved(
            w,
            {
                "text.token_embedding": "text_model.embeddings.token_embedding",
                "text.ln_final": "text_model.final_layer_norm",
                "text.text_projection": "text_model.head",
                "visual.trunk.patch_embed.proj": "vision_model.embeddings.patch_embedding",
                "visual.trunk.norm": "vision_model.post_layernorm",
                "visual.trunk.attn_pool.proj": "vision_model.head.attention.out_proj",
                "visual.trunk.attn_pool.norm": "vision_model.head.layernorm",
                "visual.trunk.attn_pool.mlp.fc1": "vision_model.head.mlp.fc1",
                "visual.trunk.attn_pool.mlp.fc2": "vision_model.head.mlp.fc2",
            },
        ),
        "text_model.embeddings.position_embedding.weight": w["text.positional_embedding"],
        "vision_model.embeddings.position_embedding.weight": w["visual.trunk.pos_embed"][0],
        "vision_model.head.probe": w["visual.trunk.attn_pool.latent"],
        "logit_scale": w["logit_scale"].reshape(1),
        "logit_bias": w["logit_bias"].reshape(1),
    }
    for kind in ("weight", "bias"):
        pool = [w[f"visual.trunk.attn_pool.{part}.{kind}"] for part in ("q", "kv")]
        found[f"vision_model.head.attention.in_proj_{kind}"] = torch.cat(pool)
        for i in range(2):
            block, layer = f"visual.trunk.blocks.{i}", f"vision_model.encoder.layers.{i}"
            parts = w[f"{block}.attn.qkv.{kind}"].chunk(3)
            found |= {f"{layer}.self_attn.{n}_proj.{kind}": part for n, part in zip("qkv", parts, strict=True)}
    names = {"attn.proj": "self_attn.out_proj", "norm1": "layer_norm1", "norm2": "layer_norm2"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for i in range(2):
        inner = {f"visual.trunk.blocks.{i}.{a}": f"vision_model.encoder.layers.{i}.{b}" for a, b in names.items()}
        found |= moved(w, inner)
    return found


@register_model
def mini_siglip_vit(pretrained=False, **given):
    """The image tower of a SigLIP, in small."""
    kept = {key: value for key, value in given.items() if key in ("img_size", "num_classes", "global_pool")}
    return VisionTransformer(
        patch_size=8, embed_dim=64, depth=2, num_heads=2, class_token=False, act_layer=get_act_layer("gelu_tanh"),
        **{"img_size": 32} | kept | {"global_pool": "map"},
    )  # fmt: skip


def shaken(net):
    """With weights that make logits differ: fresh ones are near zero."""
    torch.manual_seed(0)
    for value in net.state_dict().values():
        if value.ndim > 1:
            value.normal_(0, 0.1)
    return net.eval()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """One CLIP as a file for open_clip and as a folder of transformers."""
    folder = tmp_path_factory.mktemp("clip")
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
    (folder / "mine.json").write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / "mine.json")
    net = shaken(open_clip.create_model("mine"))
    torch.save(net.state_dict(), folder / "mine.pt")
    ends = {"bos_token_id": 49406, "eos_token_id": 49407}
    config = transformers.CLIPConfig(
        text_config=TOWER | ends | {"max_position_embeddings": 16, "vocab_size": 49408, "hidden_act": "gelu"},
        vision_config=VISION | {"hidden_act": "gelu"},
        projection_dim=32,
    )
    theirs = transformers.CLIPModel(config)
    theirs.load_state_dict(clip_names(net.state_dict()))
    theirs.save_pretrained(folder / "hf")
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / "hf"
    )
    bpe = open_clip.SimpleTokenizer()
    vocabulary = {key: i for key, i in bpe.encoder.items() if i < 49406} | {
        "<|startoftext|>": 49406,
        "<|endoftext|>": 49407,
    }
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[*bpe.bpe_ranks]).save_pretrained(folder / "hf")
    return f"open_clip:mine@{folder / 'mine.pt'}?quick_gelu=false", folder / "hf"


def words(folder):
    """A tokenizer of whole words, which closes and pads as SigLIP's does."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers import models as kinds

    known = sorted({word for name in MINI.names for word in name.split()} | {"a", "photo", "of", "."})
    made = Tokenizer(kinds.WordLevel({w: i for i, w in enumerate(["<pad>", "</s>", "<unk>", *known])}, "<unk>"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def siglips(tmp_path_factory):
    """One SigLIP as a folder of open_clip and as one of transformers."""
    ours, hf = tmp_path_factory.mktemp("siglip"), tmp_path_factory.mktemp("siglip") / "hf"
    text = {"context_length": 12, "vocab_size": 60, "width": 64, "heads": 2, "layers": 2, "hf_tokenizer_name": "x"}
    text |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    text |= {"act_kwargs": {"approximate": "tanh"}}
    vision = {"image_size": 32, "timm_model_name": "mini_siglip_vit", "timm_pool": "map", "timm_proj": "none"}
    config = {"embed_dim": 64, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    prepared = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    (ours / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepared}))
    net = shaken(open_clip.create_model(f"local-dir:{ours}", load_weights=False))
    torch.save(net.state_dict(), ours / "open_clip_model.bin")
    words(ours)
    theirs = transformers.SiglipModel(
        transformers.SiglipConfig(
            text_config=TOWER | {"max_position_embeddings": 12, "vocab_size": 60, "projection_size": 64},
            vision_config=VISION,
        )
    )
    theirs.load_state_dict(siglip_names(net.state_dict()))
    theirs.save_pretrained(hf)
    words(hf)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(hf)
    return f"open_clip:local-dir:{ours}?", hf


@pytest.mark.parametrize("kind", ["clips", "siglips"])
@pytest.mark.filterwarnings("ignore::clip_robustness.errors.ModelWarning")
def test_logits_are_those_of_open_clip_for_the_same_weights(kind, request):
    ours, folder = request.getfixturevalue(kind)
    one = models.load(f"{ours}&prompts=plain".replace("?&", "?"), MINI)
    other = models.load(f"transformers:{folder}?prompts=plain", MINI)
    images = torch.rand(8, 3, 32, 32, requires_grad=True)
    logits = one(images), other(images)
    assert logits[0].std() > 0.05, "they differ from class to class and image to image"
    assert torch.allclose(*logits, atol=1e-4), (logits[0] - logits[1]).abs().max()
    gradients = [torch.autograd.grad(found.logsumexp(1).sum(), images)[0] for found in logits]
    assert torch.allclose(*gradients, atol=1e-4)
    assert {tuple(m.mean.flatten().tolist()) for m in (one, other)} == {tuple(one.mean.flatten().tolist())}
    assert (one.image_size, one.interpolation, one.crop) == (other.image_size, other.interpolation, other.crop)


def pictures():
    """Of all shapes, with edges and fine structure, in the modes that files have."""
    rng = np.random.default_rng(0)
    for shape in ((40, 64), (64, 40), (32, 32), (33, 100), (20, 24), (224, 300)):
        slope = np.linspace(0, 255, shape[1])[None, :, None] + rng.normal(0, 40, (*shape, 3))
        slope[shape[0] // 3 : shape[0] // 2] = 255
        yield Image.fromarray(slope.clip(0, 255).astype(np.uint8))
    yield Image.fromarray(rng.integers(0, 256, (50, 40), np.uint8))
    yield Image.fromarray(rng.integers(0, 256, (50, 40, 4), np.uint8), "RGBA")


@pytest.mark.parametrize("kind", ["clips", "siglips"])
def test_pixels_are_those_of_the_models_own_processor(kind, request):
    folder = request.getfixturevalue(kind)[1]
    prepared = load_clip(parse(f"transformers:{folder}"), CPU).preprocessing
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for picture in pictures():
        theirs = processor(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        assert (prepared.normalised(picture) - theirs).abs().max() < 1e-5


@pytest.fixture(scope="module")
def naflex(tmp_path_factory):
    folder = tmp_path_factory.mktemp("naflex")
    vision = TOWER | {"patch_size": 8, "num_patches": 16}
    text = TOWER | {"max_position_embeddings": 12, "vocab_size": 60, "projection_size": 64}
    net = shaken(transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=vision)))
    net.save_pretrained(folder)
    words(folder)
    transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=36).save_pretrained(folder)
    return folder, net


def test_siglip_2_of_any_shape_sees_squares_and_says_so(naflex):
    folder, net = naflex
    with pytest.warns(ModelWarning, match="keeps the shape of images; here all are made square, 48 x 48 px"):
        clip = load_clip(parse(f"transformers:{folder}"), CPU)
    picture = next(p for p in pictures() if p.width == p.height)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        theirs = net.get_image_features(**processor(images=picture, return_tensors="pt")).pooler_output
        ours = clip.net.encode_image(clip.preprocessing.normalised(picture)[None])
    assert torch.allclose(ours, theirs, atol=1e-4)
    wide = Image.new("RGB", (90, 30))
    assert clip.preprocessing.geometry(wide).size == (48, 48)


def test_prompts_of_a_clip_are_tokenised_alike_and_cut_aloud(clips, tmp_path):
    folder = clips[1]
    clip = load_clip(parse(f"transformers:{folder}"), CPU)
    theirs = open_clip.get_tokenizer("mine", context_length=16)(["a photo of a Cup &amp; saucer.", "mug"])
    found = clip.tokenizer(["a photo of a Cup & saucer.", "mug"])
    ends = theirs.argmax(1)
    assert torch.equal(found.argmax(1), ends)
    assert all(torch.equal(a[: end + 1], b[: end + 1]) for a, b, end in zip(found, theirs, ends, strict=True))
    (tmp_path / "long.txt").write_text("word " * 13 + "{} indeed\n")
    with pytest.warns(ModelWarning, match="cut at the model's context length of 16 tokens"):
        models.load(f"transformers:{folder}?prompts={tmp_path / 'long.txt'}", MINI)


def test_weights_in_shards_and_of_strangers(clips, tmp_path, monkeypatch):
    from tests.models.test_checkpoints import Malicious

    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(clips[1], tmp_path / "copy")
    whole = models.load(f"transformers:{folder}?prompts=plain", MINI)
    transformers.CLIPModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len([*folder.glob("model-*.safetensors")]) > 1
    assert models.load(f"transformers:{folder}?prompts=plain", MINI).fingerprint == whole.fingerprint
    for file in folder.glob("model*"):
        file.unlink()
    torch.save({"weight": Malicious()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="without executing code"):
        models.load(f"transformers:{folder}", MINI)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        models.load(f"transformers:{folder}", MINI)
    assert not (tmp_path / "executed").exists()


def changed(folder, name, **fields):
    content = json.loads((folder / name).read_text()) | fields
    (folder / name).write_text(json.dumps(content))


def test_a_folder_brings_no_code_of_its_own(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks whether to run code"))
    for name, field in (
        ("config.json", {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}),
        ("preprocessor_config.json", {"AutoImageProcessor": "mine.Mine"}),
    ):
        folder = shutil.copytree(clips[1], tmp_path / name)
        (folder / "mine.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Mine: pass\n")
        changed(folder, name, auto_map=field)
        models.load(f"transformers:{folder}?prompts=plain", MINI)  # of a known type: the library's own code
    changed(tmp_path / "config.json", "config.json", model_type="mine")
    with pytest.raises(InputError):
        models.load(f"transformers:{tmp_path / 'config.json'}", MINI)
    assert not (tmp_path / "executed").exists()


def test_folders_that_do_not_fit_are_named(clips, tmp_path):
    def copy(name):
        return shutil.copytree(clips[1], tmp_path / name)

    other = copy("other")
    changed(other, "config.json", model_type="bert")
    with pytest.raises(InputError, match="its configuration is of a 'bert'; read are clip, siglip, siglip2"):
        models.load(f"transformers:{other}", MINI)
    torn = copy("torn")
    weights = clip_names(torch.load(clips[0].partition("@")[2].partition("?")[0]))
    del weights["visual_projection.weight"]
    save_file({key: value.contiguous() for key, value in weights.items()}, torn / "model.safetensors")
    with pytest.raises(InputError, match=r"1 keys are missing \(visual_projection.weight\)"):
        models.load(f"transformers:{torn}", MINI)
    for fields, says in (
        (
            {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}},
            "images of 48 px, its model takes 32",
        ),
        ({"do_center_crop": False}, "square images"),
        ({"do_rescale": False}, r"pixels in \[0, 1\]"),
    ):
        wrong = copy(says[:4].strip("\\"))
        changed(wrong, "preprocessor_config.json", **fields)
        with pytest.raises(InputError, match=says):
            models.load(f"transformers:{wrong}", MINI)
    with pytest.raises(InputError, match=r"there is no .*config.json; give the folder that holds it"):
        parse(f"transformers:{tmp_path}")
    with pytest.raises(InputError, match=r"it is a folder for transformers:.*torn"):
        parse(f"open_clip:local-dir:{torn}")
    with pytest.raises(InputError, match=r"torn; it is a folder: give the file of the weights in it"):
        parse(f"open_clip:ViT-B-32@{torn}")
    with pytest.raises(InputError, match="neither a folder nor a name on the hub"):
        parse("transformers:a/b/c")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"resample": 4}, "can't resize with resample 4"),
        ({"resample": 9}, "can't resize with resample 9"),
        ({"image_mean": [123.0, 116.0, 103.0]}, r"has the mean .123.*between 0 and 1"),
        ({"image_mean": [0.5]}, "should be three numbers"),
        ({"image_std": [0, 0, 0]}, "should be three numbers"),
    ],
)
def test_a_processor_that_can_not_be_meant_is_refused(clips, tmp_path, fields, says):
    folder = shutil.copytree(clips[1], tmp_path / "copy")
    changed(folder, "preprocessor_config.json", **fields)
    with pytest.raises(InputError, match=says):
        models.load(f"transformers:{folder}", MINI)


def test_what_transformers_would_make_up_or_add_is_told(clips, siglips, tmp_path):
    def copy(name, of=clips[1]):
        return shutil.copytree(of, tmp_path / name)

    folder = copy("adapted")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"adapted holds an adapter .*merge_and_unload"):
        models.load(f"transformers:{folder}", MINI)
    for missing, says in (("tokenizer.json", "no tokenizer"), ("preprocessor_config.json", "no image processor")):
        folder = copy(says)
        (folder / missing).unlink()
        with pytest.raises(InputError, match=f"has {says} .*copy it"):
            models.load(f"transformers:{folder}", MINI)
    folder = copy("end")
    content = json.loads((folder / "config.json").read_text())
    content["text_config"]["eos_token_id"] = 5
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"texts end in the token 5 \(eos_token_id\), those of its tokenizer do not"):
        models.load(f"transformers:{folder}", MINI)
    folder = copy("eight")
    weights = load_file(folder / "model.safetensors")
    weights["visual_projection.weight"] = (weights["visual_projection.weight"] * 50).to(torch.int8)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"visual_projection.weight of its weights is of int8"):
        models.load(f"transformers:{folder}", MINI)
    with pytest.warns(ModelWarning, match="its tokenizer keeps punctuation, which open_clip takes off"):
        models.load(f"transformers:{siglips[1]}?prompts=plain", MINI)
    folder = copy("unresized")
    changed(folder, "preprocessor_config.json", do_resize=False)
    assert models.load(f"transformers:{folder}?prompts=plain", MINI).crop == "centre crop, not resized"


def test_a_configuration_for_other_kernels(clips, tmp_path):
    folder = shutil.copytree(clips[1], tmp_path / "copy")
    images = torch.rand(1, 3, 32, 32)
    expected = models.load(f"transformers:{folder}?prompts=plain", MINI)(images)
    changed(folder, "config.json", _attn_implementation="flash_attention_2")
    with pytest.warns(ModelWarning, match="asks for flash_attention_2, a kernel for half precision; here sdpa"):
        model = models.load(f"transformers:{folder}?prompts=plain", MINI)
    assert torch.equal(model(images), expected)
    changed(folder, "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(InputError, match="its configuration has a quantization_config; save the model in float32"):
        models.load(f"transformers:{folder}", MINI)


def test_a_vocabulary_smaller_than_the_tokenizers(siglips, tmp_path):
    folder = shutil.copytree(siglips[1], tmp_path / "copy")
    content = json.loads((folder / "config.json").read_text())
    content["text_config"]["vocab_size"] = 20
    (folder / "config.json").write_text(json.dumps(content))
    weights = load_file(folder / "model.safetensors")
    key = "text_model.embeddings.token_embedding.weight"
    save_file(weights | {key: weights[key][:20].clone()}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"its tokenizer gives token \d+, its text tower has 20 of them; put its own"):
        models.load(f"transformers:{folder}?prompts=plain", MINI)


def test_specs_of_folders_and_of_the_hub(clips, tmp_path, monkeypatch):
    (tmp_path / "my@model?").symlink_to(clips[1])
    spec = parse("transformers:my@model??prompts=plain", tmp_path)
    assert (spec.folder, spec.options.prompts, spec.zero_shot) == (tmp_path / "my@model?", "plain", True)
    assert spec.label == "transformers:my-model-:prompts-plain"
    spec = parse("transformers:openai/clip-vit-base-patch32?precision=bf16")
    assert (spec.name, spec.folder, spec.options.precision) == ("openai/clip-vit-base-patch32", None, "bf16")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"its weights can't be had .*transformers:FOLDER"):
        models.load("transformers:openai/clip-vit-base-patch32", MINI)


def test_embeddings_of_images_without_a_head(clips):
    encoder = load_encoder(parse(f"transformers:{clips[1]}"), MINI, CPU)
    assert encoder.width == 32


def test_the_text_tower_is_not_kept(clips):
    classifier = models.load(f"transformers:{clips[1]}?prompts=plain", MINI)
    assert classifier.net.clip.model.text_model is None
    assert not any("text" in name for name, _ in classifier.net.named_parameters())
