import pytest

from models import InputError, parse


@pytest.mark.parametrize(
    ("text", "parts", "label"),
    [
        ("open_clip:ViT-B-32/openai", ("open_clip", "ViT-B-32", "openai"), "open_clip:ViT-B-32:openai"),
        ("open_clip:hf-hub:org/name", ("open_clip", "hf-hub:org/name", ""), "open_clip:hf-hub:org-name"),
        ("timm:resnet50.a1_in1k", ("timm", "resnet50.a1_in1k", ""), "timm:resnet50.a1_in1k"),
        ("python:my.module:factory", ("python", "my.module:factory", ""), "python:my.module:factory"),
        ("mini:clip", ("mini", "clip", ""), "mini:clip"),
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


def test_a_label_never_contains_the_word_that_selects_the_attacks(tmp_path):
    file = tmp_path / "Adversarial_training.pt"
    file.touch()
    assert "adversarial" not in parse(f"timm:resnet50@{file}").label.lower()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openclip:ViT-B-32/openai", "did you mean 'open_clip'"),
        ("resnet50", "must start with"),
        ("timm:", "a name is missing"),
        ("timm:resnet50@", "a name is missing"),
        ("timm:resnet50@/nowhere/x.pt", "there is no file /nowhere/x.pt"),
        ("open_clip:ViT-B-32", "name the weights"),
        ("open_clip:ViT-B-32/openai@x.pt", "@FILE goes with"),
        ("mini:resnet", "mini:clip and mini:supervised"),
        ("python:module", "MODULE:FACTORY"),
    ],
)
def test_bad_specs_are_named_with_the_mend(text, says):
    with pytest.raises(InputError, match="model spec") as error:
        parse(text)
    assert says in str(error.value)
