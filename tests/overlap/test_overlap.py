"""Data overlap: near-duplicates are found where they are, and bad input is named."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Anchor, Dataset, Sample, without
from clip_robustness.errors import InputError
from clip_robustness.mini.sets import near_duplicate, picture
from clip_robustness.models import memory
from clip_robustness.models.device import workers
from clip_robustness.models.features import load_encoder
from clip_robustness.overlap import search
from clip_robustness.overlap.alike import COPIES, Small, alike
from clip_robustness.overlap.calibration import Copied, best_limit, by_pixels
from clip_robustness.overlap.embeddings import Embedded, embed, embed_all
from clip_robustness.overlap.found import Calibration, Found, Overlap, Pair, read, read_ids, write
from clip_robustness.overlap.search import exact, nearest
from clip_robustness.overlap.sources import Shard, find, find_all

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(models.parse("mini:filter"), class_list("mini"), CPU)


def test_images_are_embedded_as_many_at_a_time_as_fit_into_memory(encoder, monkeypatch):
    model = models.load("mini:filter", class_list("mini"))
    needed = memory._OVERHEAD * memory.bytes_an_image(model, gradients=False)
    monkeypatch.setattr(memory, "free_memory", lambda: 4.5 * needed * workers() / memory._SHARE)
    bounded, images = load_encoder(models.parse("mini:filter"), class_list("mini"), CPU), [drawn(i) for i in range(10)]
    named = [(str(i), lambda image=image: image) for i, image in enumerate(images)]
    sizes, vectors = zip(*((len(keys), found) for keys, found, _ in embed(named, bounded)), strict=True)
    assert sizes == (4, 4, 2)
    assert np.allclose(np.concatenate(vectors), encoder([encoder.geometry(image) for image in images]), atol=1e-5)


def drawn(index):
    return Image.fromarray(picture("imagenet-v2", index)[0])


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(file, contents):
    with tarfile.open(file, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def ready(folder, blocks, rows=None):
    """Embeddings in the layout of clip-retrieval; `rows` of metadata where they are not as many."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for number, block in enumerate(blocks):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", block)
        count = (rows or {}).get(number, len(block))
        table = pa.table({"image_path": [f"{number}-{i}" for i in range(count)]})
        pq.write_table(table, folder / "metadata" / f"metadata_{number}.parquet")
    return folder


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_unit(seed, count, width):
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_alike_and_other_pictures_are_not(kind):
    ours = [drawn(i) for i in range(24)]
    copies = [COPIES[kind](image, np.random.default_rng(i)) for i, image in enumerate(ours)]
    same = [alike(Small(a), Small(b)) for a, b in zip(ours, copies, strict=True)]
    others = [alike(Small(a), Small(b)) for a, b in zip(ours, copies[1:], strict=False)]
    assert np.median(same) > 0.9
    assert min(same) > 0.7
    assert max(others) < 0.8


def test_alike_does_not_depend_on_order_shape_or_brightness_and_sees_the_mirror():
    image = drawn(3).resize((96, 64))
    darker = image.point(lambda value: value // 2)
    cut = image.crop((16, 0, 80, 64))  # the central square, as models see it
    assert alike(Small(image), Small(image)) == pytest.approx(1)
    assert alike(Small(image), Small(darker)) > 0.99
    assert alike(Small(image), Small(cut)) == pytest.approx(alike(Small(cut), Small(image)))
    assert alike(Small(image), Small(cut)) > 0.95
    assert alike(Small(image), Small(ImageOps.mirror(image))) < 0.9


def test_one_coloured_pictures_are_alike_to_nothing():
    plain = Small(Image.new("RGB", (64, 64), "red"))
    assert alike(plain, plain) == 0
    assert alike(plain, Small(drawn(0))) == 0


@pytest.mark.parametrize("spec", ["mini:filter", "mini:supervised", "mini:clip"])
def test_features_are_not_logits_and_have_length_one(spec):
    encoder = load_encoder(models.parse(spec), class_list("mini"), CPU)
    vectors = encoder([drawn(0), Image.fromarray(near_duplicate("imagenet-v2", 0)[0]), drawn(5)])
    assert vectors.shape == (3, encoder.width)
    assert encoder.width > len(class_list("mini"))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_the_features_of_a_clip_are_its_joint_embedding():
    classifier = models.load("mini:clip", class_list("mini"))
    encoder = load_encoder(models.parse("mini:clip"), class_list("mini"), CPU)
    image = drawn(7)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        cosines = torch.from_numpy(encoder([image])) @ classifier.net.head
        expected = classifier(pixels) / classifier.net.clip.logit_scale.exp()
    np.testing.assert_allclose(cosines, expected, atol=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 5))
def test_exact_search_over_shards_agrees_with_sorting_all_cosines(tmp_path_factory, seed, count, k):
    folder = tmp_path_factory.mktemp("shards")
    vectors, queries = random_unit(seed, count, 16), random_unit(seed + 1, 7, 16)
    shards = []
    for number, block in enumerate(np.array_split(vectors, 3)):
        np.save(folder / f"{number}.npy", block)
        shards.append(Embedded(Shard(str(number), "0"), folder / f"{number}.npy", len(block)))
    cosines, rows = exact(queries, shards, k, CPU)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    np.testing.assert_array_equal(rows[:, : expected.shape[1]], expected)
    np.testing.assert_allclose(cosines[:, 0], (queries @ vectors.T).max(1), atol=1e-5)
    assert (rows[:, expected.shape[1] :] == -1).all()


def test_an_index_finds_what_the_exact_search_finds_and_is_kept(tmp_path):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = random_unit(0, 4_000, 16)
    queries = unit(vectors[rng.choice(len(vectors), 300)] + 0.05 * rng.standard_normal((300, 16)))
    np.save(tmp_path / "0.npy", vectors.astype(np.float16))
    shards = [Embedded(Shard("0", "0"), tmp_path / "0.npy", len(vectors))]
    found = nearest(queries, shards, 3, folder=tmp_path, device=CPU, method="ivfpq")
    cosines, rows = exact(queries, shards, 3, CPU)
    assert (found.rows[:, 0] == rows[:, 0]).mean() > 0.95
    assert found.recall > 0.95
    np.testing.assert_allclose(found.cosines[:, 0].mean(), cosines[:, 0].mean(), atol=1e-3)
    (index,) = tmp_path.glob("*.faiss")
    stamp = index.stat().st_mtime_ns
    again = nearest(queries, shards, 3, folder=tmp_path, device=CPU, method="ivfpq")
    np.testing.assert_array_equal(again.rows, found.rows)
    assert index.stat().st_mtime_ns == stamp


def test_large_searches_go_through_the_index(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "EXACT_BELOW", 10)
    monkeypatch.setattr(search.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    np.save(tmp_path / "0.npy", random_unit(0, 10, 8))
    shards = [Embedded(Shard("0", "0"), tmp_path / "0.npy", 10)]
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        nearest(random_unit(1, 2, 8), shards, 1, folder=tmp_path, device=CPU)


def test_the_same_images_in_every_layout(tmp_path, encoder):
    """A folder, a tar, Parquet with bytes, with paths and with keys of a folder beside it: one embedding."""
    pictures = {f"{i:03d}": png(drawn(i)) for i in range(5)}
    folder = tmp_path / "images"
    (tmp_path / "keys" / "00000").mkdir(parents=True)
    for name in ("images", "tars", "bytes", "paths"):
        (tmp_path / name).mkdir()
    for key, content in pictures.items():
        (folder / f"{key}.png").write_bytes(content)
        (tmp_path / "keys" / "00000" / f"{key}.png").write_bytes(content)
    members = {f"{key}.{end}": c for key, content in pictures.items() for end, c in (("png", content), ("txt", b"a"))}
    write_tar(tmp_path / "tars" / "00000.tar", members)
    keys, status = [*pictures, "900"], ["success"] * 5 + ["failed_to_download"]
    about = {"key": keys, "url": ["http://x"] * 6, "status": status}
    pq.write_table(pa.table({**about, "jpg": [*pictures.values(), None]}), tmp_path / "bytes" / "0.parquet")
    paths = [str(folder / f"{key}.png") for key in keys]
    pq.write_table(pa.table({**about, "path": paths}), tmp_path / "paths" / "0.parquet")
    pq.write_table(pa.table(about), tmp_path / "keys" / "00000.parquet")
    expected = encoder([drawn(i) for i in range(5)])
    for name in ("images", "tars", "bytes", "paths", "keys"):
        (one,), left_out = embed_all(find(str(tmp_path / name)).shards, encoder, tmp_path / "kept")
        assert not left_out
        assert not one.faults
        found = one.keys()
        assert [key.removesuffix(".png") for key in found] == list(pictures)
        ((start, block),) = one.blocks(encoder.width)
        assert start == 0
        np.testing.assert_allclose(block, expected, atol=2e-3)
        ((key, image),) = one.images([found[3]])
        assert key.removesuffix(".png") == "003"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(drawn(3)))


def test_a_shard_that_is_done_is_not_read_again_and_a_new_file_is(tmp_path, encoder):
    write_tar(tmp_path / "0.tar", {"a.png": png(drawn(0))})
    embed_all(find(str(tmp_path)).shards, encoder, tmp_path / "kept")

    def fail(*_):
        raise AssertionError("embedded again")

    import dataclasses

    idle = dataclasses.replace(encoder, features=fail)
    (one,), _ = embed_all(find(str(tmp_path)).shards, idle, tmp_path / "kept")
    assert one.keys() == ["a"]
    write_tar(tmp_path / "0.tar", {"a.png": png(drawn(1)), "b.png": png(drawn(0))})
    with pytest.raises(AssertionError, match="embedded again"):
        embed_all(find(str(tmp_path)).shards, idle, tmp_path / "kept")
    assert not list((tmp_path / "kept").rglob("*.partial"))


def test_bad_shards_are_named_and_the_others_count(tmp_path, encoder):
    width, good = encoder.width, random_unit(0, 4, encoder.width)
    nan = good.copy()
    nan[1] = np.nan
    blocks = [good, nan, 3 * good, random_unit(1, 4, width + 1), good, good]
    place = ready(tmp_path / "emb", blocks, rows={4: 3})
    (place / "img_emb" / "img_emb_5.npy").write_bytes(b"\x93NUMPY cut off")
    np.save(place / "img_emb" / "img_emb_6.npy", good)
    source = find(str(place))
    assert len(source.shards) == 6
    assert "there is no" in source.left_out[0]
    embedded, left_out = embed_all(source.shards, encoder, tmp_path)
    assert [one.shard.name for one in embedded] == [f"emb/img_emb_{i}" for i in (0, 1, 2)]
    assert [sentence.partition(":")[0] for sentence in left_out] == [f"emb/img_emb_{i}" for i in (3, 4, 5)]
    assert f"have {width + 1} numbers, those of mini:filter have {width}" in left_out[0]
    assert "4 embeddings, but 3 rows in metadata_4.parquet" in left_out[1]
    cosines, rows = exact(good, embedded, 12, CPU)
    assert np.isfinite(cosines).all()
    np.testing.assert_allclose(cosines[0, :3], 1, atol=1e-4)
    assert set(rows[0, :3]) == {0, 4, 8}
    assert (cosines[1, 2:] < 0.9).all(), "the row that is NaN is near to nothing"
    assert embedded[0].faults == []
    assert "1 of 4 embeddings are NaN" in embedded[1].faults[0]
    assert "not normalised (lengths 1 to 3)" in embedded[2].faults[0]


def test_a_tar_that_ends_early_and_images_that_are_none(tmp_path, encoder):
    for name in ("0.tar", "1.tar", "2.tar"):
        write_tar(tmp_path / name, {"a.png": png(drawn(0)), "b.png": b"no image", "c.png": png(drawn(2))})
    whole = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: whole.rindex(b"c.png") + 700])
    (tmp_path / "2.tar").write_bytes(b"x" * 2000)
    embedded, left_out = embed_all(find(str(tmp_path)).shards, encoder, tmp_path / "kept")
    assert [one.keys() for one in embedded] == [["a", "c"], ["a"]]
    assert "1 images can't be decoded (first: b)" in embedded[0].faults[0]
    assert "can't be read to its end" in embedded[1].faults[0]
    assert "2.tar: left out: can't be read to its end" in left_out[0]


def test_hidden_files_are_no_images_of_any_source(tmp_path):
    """What a notebook, a desktop and an archiver leave behind; what else is not read is counted."""
    image = png(drawn(0))
    for name in ("folder/a.png", "folder/.b.png", "folder/.ipynb_checkpoints/a.png", "folder/deep/__MACOSX/._a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(image)
    (tmp_path / "folder" / "a.heic").touch()
    folder = find(str(tmp_path / "folder"))
    assert [key for key, _ in folder.shards[0].read()] == ["a.png"]
    assert folder.left_out == (f"--pretraining {tmp_path / 'folder'}: 1 file is not read (.heic 1)",)
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards" / "0.tar", {"./a.png": image, "._a.png": image, "__MACOSX/a.png": image})
    (tmp_path / "shards" / "._0.tar").touch()
    (shard,) = find(str(tmp_path / "shards")).shards
    assert [key for key, _ in shard.read()] == ["a"]


def test_an_empty_folder_is_named_and_alone_it_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    drawn(0).save(tmp_path / "full" / "a.png")
    source = find_all([str(tmp_path / "empty"), str(tmp_path / "full"), str(tmp_path / "none")])
    assert len(source.shards) == 1
    assert "the folder is empty" in source.left_out[0]
    assert "there is no such file or folder" in source.left_out[1]
    with pytest.raises(InputError, match="the folder is empty"):
        find_all([str(tmp_path / "empty")])


def test_near_duplicates_of_the_drawn_world_are_above_the_limit_and_decoys_below():
    """Copies as they were drawn for the pre-training set, which are other ones than those to calibrate with."""
    same = [
        alike(Small(drawn(i)), Small(Image.fromarray(near_duplicate("imagenet-v2", i)[0]))) for i in range(0, 96, 4)
    ]
    mirrored = [
        alike(Small(ImageOps.mirror(drawn(i))), Small(Image.fromarray(near_duplicate("imagenet-v2", i)[0])))
        for i in range(0, 96, 4)
    ]
    assert min(same) > 0.95
    assert np.mean(np.array(mirrored) > 0.9) < 0.05


def test_the_limit_lets_few_mistakes_pass_and_is_not_lower_than_it_need_be():
    rng = np.random.default_rng(0)
    copies = Copied(np.full(500, 0.9), rng.uniform(0.8, 1, 500))
    mirrored, asked = rng.uniform(0.2, 0.7, 400), np.concatenate([rng.uniform(0.2, 0.7, 300), rng.uniform(0.9, 1, 100)])
    easy = by_pixels(copies, mirrored, asked)
    assert easy.alike == pytest.approx(np.quantile(copies.alike, 0.01))
    assert (easy.recall >= 0.98, easy.mistaken) == (True, 0)
    hard = by_pixels(copies, np.where(rng.random(400) < 0.1, 0.93, mirrored), asked)
    assert hard.alike > 0.93
    assert hard.precision(400, 100) >= 0.98
    nothing = by_pixels(copies, np.append(mirrored, 0.95), asked[:300])
    assert nothing.alike > 0.8


def test_the_best_limit_is_in_the_middle_between_what_it_separates():
    assert best_limit(np.array([0.8, 0.9]), np.array([0.1, 0.4])) == pytest.approx(0.6)


def test_results_are_read_as_they_were_written(tmp_path):
    limits = Calibration(0.5, None, 10, 9, 8, 1)
    one = Overlap(3, limits, (Pair("a/1.png", "web/1", 0.9), Pair("b/2.png", "web/<2>", 0.95, 0.99)), ("c/3.png",))
    found = Found("mini:filter", "abc", 5, "exact", {"imagenet-v2": one}, ("a shard: left out",))
    write(found, tmp_path / "overlap.json")
    assert read(tmp_path / "overlap.json") == found
    assert read_ids(tmp_path / "overlap.json") == {"imagenet-v2": frozenset({"a/1.png", "b/2.png"})}
    assert json.loads((tmp_path / "overlap.json").read_text())["data"]["imagenet-v2"]["ids"] == ["a/1.png", "b/2.png"]
    (tmp_path / "own.json").write_text('{"imagenet-v2": ["a/1.png"]}')
    assert read_ids(tmp_path / "own.json") == {"imagenet-v2": frozenset({"a/1.png"})}


@pytest.mark.parametrize("text", ["", "[]", '{"imagenet-v2": "a"}', '{"schema": 9}', '{"schema": 1, "data": {"a": 3}}'])
def test_what_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        read_ids(tmp_path / "x.json")


def test_an_anchor_goes_with_any_of_its_frames(tmp_path):
    samples = tuple(Sample(name, tmp_path, 0) for name in "abcdef")
    images = Dataset("vid", samples, anchors=(Anchor("a", (("b", 1), ("c", 2))), Anchor("d", (("e", 1), ("c", 3)))))
    left = without(images, frozenset({"b"}))
    assert [anchor.id for anchor in left.anchors] == ["d"]
    assert [sample.id for sample in left.samples] == ["c", "d", "e"]
