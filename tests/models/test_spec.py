import open_clip
import pytest
import torchvision

from clip_robustness.models import InputError, parse, parse_all
from clip_robustness.models.templates import read_prompts


@pytest.mark.parametrize(
    ("text", "parts", "label"),
    [
        ("open_clip:ViT-B-32/openai", ("open_clip", "ViT-B-32", "openai"), "open_clip:ViT-B-32:openai"),
        ("open_clip:hf-hub:org/name", ("open_clip", "hf-hub:org/name", ""), "open_clip:hf-hub:org-name"),
        ("timm:resnet50.a1_in1k", ("timm", "resnet50.a1_in1k", ""), "timm:resnet50.a1_in1k"),
        ("python:my.module:factory", ("python", "my.module:factory", ""), "python:my.module:factory"),
        ("mini:clip", ("mini", "clip", ""), "mini:clip"),
        ("torchvision:alexnet", ("torchvision", "alexnet", ""), "torchvision:alexnet"),
        (
            "torchvision:vgg11/IMAGENET1K_V1",
            ("torchvision", "vgg11", "IMAGENET1K_V1"),
            "torchvision:vgg11:IMAGENET1K_V1",
        ),
        ("mini:clip?prompts=plain", ("mini", "clip", ""), "mini:clip:prompts-plain"),
        (
            "python:my.module:factory?width=0.5",
            ("python", "my.module:factory", ""),
            "python:my.module:factory:width-0.5",
        ),
    ],
)
def test_grammar(text, parts, label):
    spec = parse(text)
    assert (spec.kind, spec.name, spec.tag) == parts
    assert spec.label == label
    assert str(spec) == text


def test_a_file_is_part_of_the_spec_and_its_stem_of_the_label(tmp_path):
    file = tmp_path / "epoch 12.pt"
    file.touch()
    spec = parse(f"open_clip:ViT-B-32@{file}")
    assert spec.file == file
    assert spec.label == "open_clip:ViT-B-32:epoch-12"


def test_options_are_read_and_are_part_of_the_label(tmp_path):
    (tmp_path / "learned & weighted.json").touch()
    spec = parse("open_clip:RN50/openai?prompts=learned%20%26 weighted.json&precision=bf16&mean=0.5,0.5,0.5", tmp_path)
    assert spec.options.prompts == str(tmp_path / "learned & weighted.json")
    assert spec.options.precision == "bf16"
    assert spec.options.mean == (0.5, 0.5, 0.5)
    assert spec.options.std is None
    assert spec.label == "open_clip:RN50:openai:prompts-learned---weighted:precision-bf16:mean-0.5-0.5-0.5"


def test_files_are_relative_to_the_given_folder(tmp_path):
    for name in ("x.pt", "names.txt", "open_clip_config.json"):
        (tmp_path / name).touch()
    spec = parse("open_clip:RN50@x.pt?class_names=names.txt", tmp_path)
    assert (spec.file, spec.options.class_names) == (tmp_path / "x.pt", str(tmp_path / "names.txt"))
    local = parse("open_clip:local-dir:.", tmp_path)
    assert local.name == f"local-dir:{tmp_path}"
    assert local.label == f"open_clip:local-dir:{tmp_path.name}"


@pytest.mark.parametrize("options", ["", "?image_size=32", "?image_size=32&mean=0.5,0.5,0.5"])
@pytest.mark.parametrize("folder", ["a@b", "a?b", "a?b=c&d@e?f"])
def test_paths_may_have_the_signs_of_the_grammar(tmp_path, folder, options):
    (tmp_path / folder).mkdir()
    for name in ("last?@.pt", "last", "open_clip_config.json"):
        (tmp_path / folder / name).touch()
    given = tuple(tuple(pair.split("=")) for pair in options[1:].split("&") if pair)
    spec = parse(f"open_clip:RN50@{tmp_path}/{folder}/last?@.pt{options}")
    assert (spec.name, spec.file, spec.given) == ("RN50", tmp_path / folder / "last?@.pt", given)
    local = parse(f"open_clip:local-dir:{folder}{options}", tmp_path)
    assert (local.name, local.given) == (f"local-dir:{tmp_path / folder}", given)


def test_a_question_mark_still_begins_the_options(tmp_path):
    """Where the path with them is no file, whatever stands in them."""
    (tmp_path / "x.pt").touch()
    (tmp_path / "p@1.json").touch()
    spec = parse("open_clip:RN50@x.pt?prompts=p@1.json", tmp_path)
    assert (spec.file, spec.options.prompts) == (tmp_path / "x.pt", str(tmp_path / "p@1.json"))
    assert parse("open_clip:RN50/openai?prompts=p@1.json", tmp_path).options.prompts == str(tmp_path / "p@1.json")
    with pytest.raises(InputError, match=r"there is no file .*/y"):
        parse("open_clip:RN50@y?/x.pt", tmp_path)


def test_the_papers_models_go_by_one_name():
    """All architectures and tags exist in the libraries; weights can't be downloaded here."""
    clips = parse_all("preset:paper-clip?precision=bf16")
    assert len(clips) == 6
    assert all(spec.options.precision == "bf16" for spec in clips)
    assert all(spec.tag in open_clip.list_pretrained_tags_by_model(spec.name) for spec in clips)
    learned = parse_all("preset:paper-clip-auto?precision=bf16")
    assert [spec.written.partition("?")[0] for spec in learned] == [spec.written.partition("?")[0] for spec in clips]
    for spec in learned:
        assert spec.options.precision == "bf16"
        first, *others = read_prompts(spec.options.prompts).templates
        assert first.before == (320, 1125, 539, 320)  # a photo of a
        assert len(others) > 100
    siglips = parse_all("preset:siglip")
    assert all(spec.tag in open_clip.list_pretrained_tags_by_model(spec.name) for spec in siglips)
    assert [spec.name.rpartition("/")[2] for spec in parse_all("preset:robust-clip")] == [
        "fare2-clip", "fare4-clip", "tecoa2-clip", "tecoa4-clip"
    ]  # fmt: skip
    supervised = parse_all("preset:paper-supervised")
    assert len(supervised) == 11
    for spec in supervised:
        assert spec.tag in torchvision.models.get_model_weights(spec.name).__members__
    assert parse_all("mini:clip") == (parse("mini:clip"),)
    with pytest.raises(InputError, match="did you mean 'paper-clip'"):
        parse_all("preset:papers-clip")


def test_a_label_never_contains_the_word_that_selects_the_attacks(tmp_path):
    file = tmp_path / "Adversarial_training.pt"
    file.touch()
    assert "adversarial" not in parse(f"timm:resnet50@{file}").label.lower()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openclip:ViT-B-32/openai", "did you mean 'open_clip'"),
        ("resnet50", "must start with"),
        ("timm:", "something is missing"),
        ("timm:resnet50@", "something is missing"),
        ("timm:resnet50@/nowhere/x.pt", "there is no file /nowhere/x.pt"),
        ("open_clip:ViT-B-32", "name the weights"),
        ("open_clip:ViT-B-32/openai@x.pt", "@FILE goes with"),
        ("mini:resnet", "mini:clip and mini:supervised"),
        ("python:module", "MODULE:FACTORY"),
        ("preset:paper-clip", "one is expected"),
        ("open_clip:local-dir:/nowhere", "/nowhere/open_clip_config.json"),
        ("open_clip:local-dir:/nowhere@x.pt", "/nowhere@x.pt/open_clip_config.json"),
        ("mini:clip?", "something is missing"),
        ("mini:clip?prompts", "key=value"),
        ("mini:clip?prompts=simple&prompts=plain", "given twice"),
        ("mini:clip?promts=simple", "did you mean 'prompts'"),
        ("mini:clip?prompts=openai-8", "did you mean 'openai-80'"),
        ("mini:clip?class_names=none.txt", "there is no such file"),
        ("mini:clip?precision=int8", "fp32, tf32, bf16, fp16"),
        ("mini:clip?compile=1", "true or false"),
        ("mini:supervised?prompts=simple", "no option 'prompts'"),
        ("timm:resnet50?quick_gelu=true", "no option 'quick_gelu'"),
        ("timm:resnet50?image_size=-1", "a number of pixels"),
        ("timm:resnet50?mean=127,127,127", "pixels in [0, 1]"),
        ("timm:resnet50?crop_pct=87", "a share like 0.875"),
        ("torchvision:resnet50?resize_mode=squash", "no option 'resize_mode'"),
    ],
)
def test_bad_specs_are_named_with_the_mend(text, says):
    with pytest.raises(InputError, match="model spec") as error:
        parse(text)
    assert says in str(error.value)


def test_a_name_for_a_model(tmp_path):
    """Whatever the checkpoint: CI's history of tests does not begin anew with each."""
    (tmp_path / "epoch_12.pt").touch()
    spec = parse("epoch=open_clip:RN50@epoch_12.pt?prompts=simple", tmp_path)
    assert (spec.text, spec.label, spec.named) == ("epoch", "epoch", True)
    assert spec.written == "open_clip:RN50@epoch_12.pt?prompts=simple"
    assert (spec.kind, spec.name, spec.file) == ("open_clip", "RN50", tmp_path / "epoch_12.pt")
    plain = parse("mini:clip?prompts=simple")
    assert (plain.text, plain.written, plain.named) == ("mini:clip?prompts=simple", "mini:clip?prompts=simple", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adversarial-12=mini:clip", "the word adversarial selects the attacks"),
        ("all=preset:paper-clip", "one is expected"),
        ("epoch=mini:clap", "model spec 'epoch=mini:clap'"),
        ("a b=mini:clip", "it must start with"),
    ],
)
def test_names_that_can_not_be(text, says):
    with pytest.raises(InputError) as error:
        parse_all(text)
    assert says in str(error.value)
