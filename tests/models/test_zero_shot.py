"""Heads, prompts, class names and the activation of CLIP checkpoints."""

import json
import warnings
from dataclasses import asdict, replace

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_robustness import models
from clip_robustness.datasets.classes import ClassList, class_list, renamed
from clip_robustness.errors import ModelWarning
from clip_robustness.models import InputError, embedded, head
from clip_robustness.models.clip_plan import compare_with_published, quick_gelu
from clip_robustness.models.prompt_check import PromptCheck
from clip_robustness.models.spec import parse
from clip_robustness.models.templates import TokenTemplate, read_prompts
from clip_robustness.models.zero_shot import load_clip

MINI = class_list("mini")
SPEC = f"open_clip:{embedded.CLIP_ARCHITECTURE}@{embedded.CLIP_WEIGHTS}"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def clip():
    return load_clip(parse(SPEC), torch.device("cpu"))


def test_clips_tokenizer_is_made_once(clip):
    """And is that of the architecture, with its context length."""
    assert load_clip(parse(SPEC), torch.device("cpu")).tokenizer is clip.tokenizer
    theirs = open_clip.get_tokenizer(embedded.CLIP_ARCHITECTURE)
    assert torch.equal(clip.tokenizer(["a photo of a cup."]), theirs(["a photo of a cup."]))


def test_a_head_of_many_blocks_equals_open_clips(clip, monkeypatch):
    """Blocks of classes and of texts that do not divide the numbers of either."""
    monkeypatch.setattr(head, "_CLASSES_AT_ONCE", 7)
    monkeypatch.setattr(head, "_TEXTS_AT_ONCE", 33)
    ours = head.class_embeddings(clip.net, clip.tokenizer, MINI.names, read_prompts("openai-80"))
    with torch.no_grad():
        theirs = open_clip.build_zero_shot_classifier(
            clip.net, clip.tokenizer, MINI.names, open_clip.OPENAI_IMAGENET_TEMPLATES
        )
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_texts_cut_to_their_length_are_the_same_texts(clip):
    tokens = clip.tokenizer(["a photo of a cup.", "cup"])
    with torch.no_grad():
        full = clip.net.encode_text(tokens, normalize=True)
    assert torch.allclose(head.encode_text(clip.net, tokens), full, atol=1e-5)
    assert clip.net.positional_embedding.shape[0] == tokens.shape[1]


def test_a_head_is_built_once(cache, monkeypatch):
    built = []
    original = head.class_embeddings
    monkeypatch.setattr(head, "class_embeddings", lambda *a: (built.append(a), original(*a))[1])
    heads = [models.load("mini:clip", MINI).net.head for _ in range(2)]
    assert len(built) == 1
    (file,) = (cache / "heads").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    heads.append(models.load("mini:clip", MINI).net.head)
    assert len(built) == 2
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0], heads[2])
    models.load("mini:clip?prompts=plain", MINI)
    assert len(built) == 3


def test_the_text_tower_does_not_stay_in_memory():
    net = models.load("mini:clip", MINI).net.clip
    assert net.transformer is None
    assert net.token_embedding is None


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("openai-80", 80, "a bad photo of a {}.", "a tattoo of the {}."),
        ("simple", 7, "itap of a {}.", "a photo of the small {}."),
        ("plain", 1, "a photo of a {}.", "a photo of a {}."),
        ("cifar10-18", 18, "a photo of a {}.", "a photo of the big {}."),
    ],
)
def test_template_sets(name, count, first, last):
    texts = [template.text for template in read_prompts(name).templates]
    assert (len(set(texts)), texts[0], texts[-1]) == (count, first, last)


def test_templates_from_a_file(tmp_path, clip):
    (tmp_path / "mine.txt").write_text("# two\na {}.\n\nthe {} of {}\n")
    prompts = read_prompts(str(tmp_path / "mine.txt"))
    assert [t.text for t in prompts.templates] == ["a {}.", "the {} of {}"]
    tokens = prompts.templates[1].tokens(["cup"], clip.tokenizer)
    assert torch.equal(tokens, clip.tokenizer(["the cup of cup"]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.txt", "\ufeffa {}.\r\nthe {}.\r\n"),
        ("x.txt", '"a {}.",\n"the {}.",\n'),
        ("x.txt", "- a {}.\n- the {}.\n"),
        ("x.txt", "1. a {}.\n2. the {}.\n"),
        ("x.txt", "['a {}.', 'the {}.']"),
        ("x.py", "TEMPLATES = [\n    'a {}.',\n    'the {}.',\n]\n"),
        ("x.json", '["a {}.", "the {}."]'),
    ],
)
def test_templates_are_without_what_lists_put_around_them(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert [t.text for t in read_prompts(str(tmp_path / name)).templates] == ["a {}.", "the {}."]


def test_learned_prompts_are_token_ids_around_the_class_name(tmp_path, clip):
    before, after = clip.tokenizer.encode("a photo of a"), clip.tokenizer.encode(".")
    template = TokenTemplate(tuple(before), tuple(after))
    assert torch.equal(
        template.tokens(MINI.names, clip.tokenizer), clip.tokenizer([f"a photo of a {n}." for n in MINI.names])
    )
    file = tmp_path / "learned.json"
    file.write_text(json.dumps({"schema": 1, "prompts": [{"before": before, "after": after, "weight": 2.0}]}))
    one, other = (models.load(f"mini:clip?prompts={p}", MINI) for p in (file, "plain"))
    assert torch.allclose(one.net.head, other.net.head, atol=1e-6)
    assert one.fingerprint != other.fingerprint


def test_weights_of_prompts_count(tmp_path, clip):
    a, b = (TokenTemplate(tuple(clip.tokenizer.encode(text))) for text in ("a photo of a", "a sketch of a"))
    prompts = read_prompts("plain")
    heads = {}
    for name, weights in (("a", (1.0, 0.0)), ("mixed", (3.0, 1.0))):
        weighted = type(prompts)(name, (a, b), weights)
        heads[name] = head.class_embeddings(clip.net, clip.tokenizer, MINI.names, weighted)
    alone = [
        head.class_embeddings(clip.net, clip.tokenizer, MINI.names, type(prompts)("x", (t,), (1.0,))) for t in (a, b)
    ]
    assert torch.allclose(heads["a"], alone[0], atol=1e-6)
    expected = torch.nn.functional.normalize(0.75 * alone[0] + 0.25 * alone[1], dim=0)
    assert torch.allclose(heads["mixed"], expected, atol=1e-6)


WORDS = "word " * 19
"""With the class name of one token, the start and the end, as many tokens as the model has room for but two."""


def said_of(prompts, classes=MINI):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models.load(f"mini:clip?prompts={prompts}", classes)
    return [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]


def named(tmp_path, *names):
    (tmp_path / "classes.txt").write_text("".join(f"k{i}\t{name}\n" for i, name in enumerate(names)))
    return class_list(str(tmp_path / "classes.txt"))


def test_prompts_that_are_cut_are_told_with_their_classes(tmp_path):
    """Also when the head is read from the cache: the figures are as wrong the second time."""
    (tmp_path / "long.txt").write_text(f"a {{}}.\n{WORDS} {{}} , indeed it is\n")
    (tmp_path / "full.txt").write_text(f"{WORDS} a {{}}\n")
    classes = named(tmp_path, "cup", "cat", "big cup")
    for _ in range(2):
        assert said_of(tmp_path / "long.txt", classes) == [
            "prompts long.txt: 3 are cut at the model's context length of 24 tokens, in 3 of 3 classes (cup, cat, big "
            "cup); shorten the template or the names"
        ]
    assert said_of(tmp_path / "full.txt", replace(classes, names=("cup", "cat", "mug"))) == [], "23 of 24 tokens"
    (said,) = said_of(tmp_path / "full.txt", classes)
    assert said.endswith(
        "none is cut, but in 1 of 3 classes (big cup) they fill the model's context length of 24 tokens"
    )
    (said,) = said_of(tmp_path / "full.txt", replace(classes, names=("cup", "cat", "very big cup")))
    assert "1 are cut" in said


def test_templates_that_stand_twice_are_told(tmp_path):
    file = tmp_path / "t.txt"
    file.write_text("a {}\nthe {}\na {}\n a {}\n")
    assert said_of(file) == ["prompts t.txt: the template 'a {}' stands 3 times and weighs as much"]
    file.write_text("a {}\nthe {}\na {}\nthe {}\nall {}\n")
    assert said_of(file) == [
        "prompts t.txt: the template 'a {}' stands 2 times and weighs as much, as does another one"
    ]


def test_prompts_that_become_equal_are_refused(tmp_path):
    (tmp_path / "long.txt").write_text(f"a {{}}.\n{'word ' * 30} {{}}\n")
    with pytest.raises(
        InputError, match=r"cut at the model's 24 tokens, the prompts of 'word .*' for the classes 'cup'"
    ):
        said_of(tmp_path / "long.txt", named(tmp_path, "cup", "cat"))
    with pytest.raises(
        InputError,
        match=r"openai-80: the prompts .* for the classes 'cup & saucer' and 'cup &amp; saucer' are the same",
    ):
        said_of("openai-80", ClassList("x", ("a", "b"), ("cup & saucer", "cup &amp; saucer")))


def test_one_name_of_two_classes_is_no_error_of_the_prompts(tmp_path):
    """ImageNet has two missiles and two kinds of sunglasses."""
    (said,) = said_of("plain", replace(MINI, names=("missile", "missile", *MINI.names[2:])))
    assert "both called 'missile'" in said


@pytest.mark.parametrize("padding", [0, 1])
def test_cut_prompts_are_found_whatever_the_tokenizer_pads_with(padding):
    """T5's pads with its end, Gemma's with zeros; ids are letters here."""

    def tokenizer(texts, context_length=5):
        rows = [[*map(ord, text[: context_length - 1]), 1] for text in texts]
        return torch.tensor([[*row, *[padding] * (context_length - len(row))] for row in rows])

    for name, cut in (("abc", False), ("abcd", False), ("abcde", True), ("abcdefgh", True)):
        check = PromptCheck(read_prompts("as-is"), tokenizer)
        check.add([name], tokenizer([name])[None])
        assert ("are cut" in check.said()) == cut, name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.txt", "a photo of a cup", "has no {}"),
        ("x.txt", "a photo of a {c}.", "has no {} for the class name; write it in the place of {c}"),
        ("x.txt", "a photo of a %s.", "write it in the place of %s"),
        ("x.txt", "a {kind} photo of a {}.", "has '{kind}' beside {}, which every prompt would say"),
        ("x.txt", "a photo of a {{}}.", "has '{{}}' beside {}"),
        ("x.txt", "a photo of a {}.\t0.5", "has '0.5' beside {}"),
        ("x.txt", "a photo of a {}.  # good", "has '# good' beside {}"),
        ("x.json", "[1]", "there is no template"),
        ("x.json", '{"dog": ["a dog"]}', "neither a list of templates with {}"),
        ("x.txt", "\n# nothing\n", "there is no template"),
        ("x.json", "{", "JSONDecodeError"),
        ("x.json", '{"schema": 2, "prompts": []}', "schema 2"),
        ("x.json", '{"schema": 1, "prompts": []}', "no prompt yet"),
        ("x.json", '{"schema": 1, "prompts": [{"before": 3}]}', "TypeError"),
        ("x.json", json.dumps({"schema": 1, "prompts": [{"before": [5] * 30, "after": [], "weight": 1}]}), "tokens"),
    ],
)
def test_bad_prompts_are_named(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        models.load(f"mini:clip?prompts={tmp_path / name}", MINI)
    assert says in str(error.value)


def test_cifar10_comes_with_its_own_names_and_templates():
    cifar10 = class_list("cifar10")
    assert cifar10.names[:2] == ("airplane", "automobile")
    assert len(cifar10) == 10
    assert "cifar10-18, 18 templates" in models.load(SPEC, cifar10).prompts


def test_other_class_names(tmp_path):
    drawn = {key: f"drawn {name}" for key, name in zip(MINI.keys, MINI.names, strict=True)}
    (tmp_path / "by-key.json").write_text(json.dumps(drawn))
    (tmp_path / "by-key.txt").write_text("".join(f"{key}\t{name}\n" for key, name in drawn.items()))
    (tmp_path / "in-order.txt").write_text("\n".join(drawn.values()))
    lists = [renamed(MINI, tmp_path / name) for name in ("by-key.json", "by-key.txt", "in-order.txt")]
    assert lists[0] == lists[1] == lists[2]
    assert lists[0].names[0] == f"drawn {MINI.names[0]}"
    plain, drawn = (
        models.load(f"mini:clip{option}", MINI) for option in ("", f"?class_names={tmp_path / 'by-key.txt'}")
    )
    assert plain.fingerprint != drawn.fingerprint
    assert plain.prompts != drawn.prompts
    assert drawn.classes == MINI  # what typographic attacks write on the images is the same for all models
    (tmp_path / "short.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=f"2 names without keys, where 'mini' has {len(MINI)} classes"):
        renamed(MINI, tmp_path / "short.txt")


@pytest.fixture
def plain_and_quick(tmp_path):
    """An architecture with and without QuickGELU in open_clip's registry, and a checkpoint that fits both."""
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text())
    for name, quick in (("mini-plain", False), ("mini-plain-quickgelu", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps(config | {"quick_gelu": quick}))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    weights = load_file(embedded.CLIP_WEIGHTS)
    torch.save({"state_dict": weights}, folder / "epoch_1.pt")
    return folder / "epoch_1.pt", weights


def test_the_activation_of_a_file_is_found_or_asked_for(plain_and_quick):
    """Both architectures take the weights, and the wrong one silently costs points."""
    file, weights = plain_and_quick
    quick = models.load(f"open_clip:mini-plain-quickgelu@{file}", MINI).net.head
    with pytest.warns(ModelWarning, match="quick_gelu=true"):
        unknown = models.load(f"open_clip:mini-plain@{file}", MINI).net.head
    assert not torch.allclose(unknown, quick, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        told = "mean=0.48145466,0.4578275,0.40821073&std=0.26862954,0.26130258,0.27577711"
        asked = models.load(f"open_clip:mini-plain@{file}?quick_gelu=true&{told}", MINI).net.head
        (file.parent.parent / "params.txt").write_text("force_quick_gelu: True\nmodel: mini-plain\nname: run\n")
        logged = models.load(f"open_clip:mini-plain@{file}", MINI).net.head
        (file.parent.parent / "params.txt").unlink()
        torch.save(weights | {"context_length": torch.tensor(24)}, file)  # as OpenAI's own files have it
        marked = models.load(f"open_clip:mini-plain@{file}", MINI).net.head
    assert all(torch.allclose(found, quick, atol=1e-6) for found in (asked, logged, marked))
    with pytest.raises(InputError, match="has QuickGELU"):
        models.load(f"open_clip:mini-plain-quickgelu@{file}?quick_gelu=false", MINI)


def test_a_training_log_of_another_architecture_is_believed(plain_and_quick):
    file, _ = plain_and_quick
    (file.parent.parent / "params.txt").write_text("model: ViT-B-16\n")
    with pytest.raises(InputError, match="the architecture is ViT-B-16"):
        models.load(f"open_clip:mini-plain@{file}", MINI)


def test_tags_tell_their_activation():
    """open_clip only warns: the plain architecture would silently lose accuracy."""
    for tag, needs in (("openai", True), ("laion2b_s34b_b79k", False)):
        assert quick_gelu(parse(f"open_clip:ViT-B-32/{tag}"), None, {}, None) == needs


def test_preprocessing_unlike_that_of_published_weights_is_told(tmp_path):
    """SigLIP's are published with mean 0.5; a file does not say what it was trained with."""
    (tmp_path / "x.pt").touch()
    ours = asdict(open_clip.transform.PreprocessCfg())
    with pytest.warns(ModelWarning, match=r"mean=0.5,0.5,0.5"):
        compare_with_published(parse(f"open_clip:ViT-B-16-SigLIP@{tmp_path / 'x.pt'}"), ours)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_with_published(parse(f"open_clip:ViT-B-32@{tmp_path / 'x.pt'}"), ours)


def test_a_sigmoid_models_bias_is_in_its_logits(tmp_path):
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text()) | {"init_logit_bias": -7.0}
    (tmp_path / "mini-sigmoid.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "mini-sigmoid.json")
    save_file(load_file(embedded.CLIP_WEIGHTS) | {"logit_bias": torch.tensor(-7.0)}, tmp_path / "x.safetensors")
    images = torch.rand(2, 3, 64, 64)
    biased, plain = models.load(f"open_clip:mini-sigmoid@{tmp_path / 'x.safetensors'}", MINI), models.load(SPEC, MINI)
    assert torch.allclose(biased(images), plain(images) - 7, atol=1e-4)
