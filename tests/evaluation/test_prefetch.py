"""What a suite needs over the network, in one folder; tests/runs/test_prefetch.py runs the command."""

import subprocess
from pathlib import Path

import pytest

from clip_robustness import suites
from clip_robustness.evaluation.prefetch import Item, environment, fetched, models_of, of_data, of_models
from clip_robustness.models.spec import parse_all


def test_what_can_t_be_fetched_is_named_with_what_to_do_and_the_rest_is_fetched(capsys):
    done = []

    def fails():
        raise OSError("no route to host\nat all")

    items = [Item("a", fails, "carry it"), Item("b", lambda: done.append("b"), "")]
    assert [item.name for item in fetched(items)] == ["a"]
    assert done == ["b"]
    assert capsys.readouterr().out.splitlines() == [
        "missing: a: no route to host\\nat all",
        "  by hand: carry it",
        "there: b",
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "open_clip:ViT-B-32/openai",
            "hf download timm/vit_base_patch32_clip_224.openai --cache-dir /to/",
        ),
        ("open_clip:hf-hub:chs20/fare4-clip", "hf download chs20/fare4-clip "),
        ("transformers:openai/clip-vit-base-patch32", "hf download openai/clip-vit-base-patch32 "),
        ("timm:resnet50.a1_in1k", "hf download timm/resnet50.a1_in1k "),
        (
            "torchvision:alexnet",
            "download https://download.pytorch.org/models/alexnet-owt-7be5be79.pth to /to/",
        ),
    ],
)
def test_by_hand_says_where_from_and_where_to(spec, said):
    (item,) = of_models(parse_all(spec), suites.load("mini"), Path("/to"), heads=False)
    assert item.by_hand.startswith(said)


def test_the_models_of_a_suite_are_candidates_baselines_and_the_surrogate():
    assert [str(spec) for spec in models_of(suites.load("mini"))] == ["mini:clip", "mini:supervised", "mini:filter"]


def test_data_in_folders_is_left_where_it_is(toml, tmp_path):
    (tmp_path / "val").mkdir()
    suite = toml(
        'classes = "mini"\n[data]\nimagenet = "val"\nimagenet-a = "mini:imagenet-a"\nimagenet-r = "hf:org/set"\n'
        '[conditions]\nnatural = ["imagenet-a", "imagenet-r"]\n'
    )
    items = {item.name: item.by_hand for item in of_data(suites.load(suite))}
    assert list(items) == ["imagenet-a = mini:imagenet-a", "imagenet-r = hf:org/set"]
    assert "hf download --repo-type dataset org/set" in items["imagenet-r = hf:org/set"]


def test_the_script_points_to_the_folder_that_it_lies_in(tmp_path):
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "env.sh").write_text(environment())
    command = f"source '{tmp_path / 'moved' / 'env.sh'}'; echo $HF_HUB_CACHE $HF_HUB_OFFLINE"
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(tmp_path / "moved" / "huggingface" / "hub"), "1"]
