"""Published figures: those of the package, a user's own, and which model is a known one."""

import hashlib

import pytest

from clip_robustness.calibration import known
from clip_robustness.calibration.figures import known_figures, published
from clip_robustness.calibration.known import recognise
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.datasets.subsets import ids_of, only
from clip_robustness.errors import InputError
from clip_robustness.models.spec import parse
from clip_robustness.suites.figures import Figures, Published

B32 = "open_clip:ViT-B-32/openai"


def one(model, condition, on="imagenet", metric=""):
    return [(row.value, row.n) for row in published().of(model, condition, {on}, metric)]


def test_the_package_has_what_was_published():
    assert one(B32, "clean") == [(0.6332, 50000), (0.63334, 50000), (0.63302, 50000)]
    assert one(B32, "imagenet-vid-robust", metric="pm0") == [(0.82236, 1109)]
    assert one(B32, "clean", "cifar10") == [(0.8983, 10000)]
    assert one("robustbench:Salman2020Do_R50", "autoattack-4/255", "robustbench-5000") == [(0.3496, 5000)]
    (alexnet,) = published().of("torchvision:alexnet/IMAGENET1K_V1", "imagenet-c-disk-fog-3", {"imagenet"})
    assert alexnet.source.startswith("modestyachts/imagenet-testbed@")
    assert alexnet.tolerance == 0.003
    assert {row.tolerance for row in published().rows if row.condition == "objectnet"} == {0.004}


def test_every_source_is_named_with_its_commit():
    assert all("@" in row.source and "(MIT" in row.source for row in published().rows)


def test_figures_of_ones_own_are_added(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(
        "# house: our table\nmodel,condition,value,n,source,fingerprint\n"
        f"ours,night@mini,0.5,200,house,\n{B32},,,,,0123456789abcdef\n"
    )
    both = known_figures(file, {"night"})
    assert both.of("ours", "night", {"mini"}) == [Published("ours", "night", "", "mini", 0.5, 200, 0.003, "our table")]
    assert both.weights == {"0123456789abcdef": B32}
    assert len(both.rows) == len(published().rows) + 1


def test_a_model_is_known_by_its_spec_its_name_and_its_weights(tmp_path):
    file = tmp_path / "a.pt"
    file.write_bytes(b"anything")
    assert recognise(parse(B32), "w", published()).model == B32
    assert recognise(parse("torchvision:alexnet"), "w", published()).model == "torchvision:alexnet/IMAGENET1K_V1"
    named = parse(f"Salman2020Do_R50=timm:resnet50@{file}")
    assert recognise(named, "w", published()).model == "robustbench:Salman2020Do_R50"
    assert recognise(parse(f"timm:resnet50@{file}"), "w", published()) == known.Recognised()
    with_prints = published() + Figures(weights={"w": B32})
    assert recognise(parse(f"timm:resnet50@{file}"), "w", with_prints).model == B32


def test_a_copy_of_a_published_file_is_known_by_its_digest(tmp_path, monkeypatch):
    copy, other = tmp_path / "copy.pt", tmp_path / "other.pt"
    copy.write_bytes(b"published")
    other.write_bytes(b"fine-tuned")
    digest = hashlib.sha256(b"published").hexdigest()
    monkeypatch.setattr(known, "_addresses", lambda kind, name: [(B32, f"https://x/models/{digest}/ViT-B-32.pt")])
    assert recognise(parse(f"open_clip:ViT-B-32@{copy}"), "w", published()).model == B32
    assert recognise(parse(f"open_clip:ViT-B-32@{other}"), "w", published()) == known.Recognised()
    named = recognise(parse(f"ViT-B-32-openai=open_clip:ViT-B-32@{other}"), "w", published())
    assert named.model == B32
    assert "another SHA-256" in named.warning
    damaged = tmp_path / f"b32-{digest}.pt"
    damaged.write_bytes(b"half of it")
    found = recognise(parse(f"open_clip:ViT-B-32@{damaged}"), "w", published())
    assert found.model == ""
    assert "damaged" in found.warning


def test_the_tables_of_the_libraries_have_digests():
    assert known._digests(parse("open_clip:ViT-B-32/openai"))[B32].startswith(
        "40d365715913c9da98579312b702a82c18be219cc"
    )
    assert known._digests(parse("torchvision:resnet50"))["torchvision:resnet50/IMAGENET1K_V1"] == "0676ba61"


def test_who_claims_a_known_name_with_other_weights_is_warned_of():
    figures = published() + Figures(weights={"right": B32})
    assert recognise(parse(B32), "right", figures) == known.Recognised(B32, "its weights")
    found = recognise(parse(B32), "wrong", figures)
    assert found.model == ""
    assert "claims to be open_clip:ViT-B-32/openai" in found.warning
    assert "wrong, not right" in found.warning
    other = recognise(parse("open_clip:ViT-B-16/openai"), "right", figures)
    assert (other.model, "claims to be" in other.warning) == (B32, True)


def test_a_named_subset_keeps_its_images(tmp_path):
    ids = sorted(ids_of("robustbench-5000"))
    assert (len(ids), len({id.partition("/")[0] for id in ids})) == (5000, 997)
    samples = tuple(Sample(id, tmp_path, 0) for id in [ids[0], "n01440764/ILSVRC2012_val_00000001.JPEG"])
    found = only(Dataset("imagenet", samples), "robustbench-5000")
    assert [sample.id for sample in found.samples] == ids[:1]
    assert found.warnings == ("data set 'imagenet': subset 'robustbench-5000': 1 of its 5000 images are there",)
    with pytest.raises(InputError, match="none of the 5000 images"):
        only(Dataset("imagenet", samples[1:]), "robustbench-5000")
