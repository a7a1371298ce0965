"""Data overlap in the suite: the drawn world's truth is found, and corrected accuracies agree with it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from clip_robustness.__main__ import main
from clip_robustness.conditions.condition import CLEAN, natural, overlap
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError
from clip_robustness.evaluation.images import MissingDataError
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.mini.sets import OVERLAPPING, near_duplicate, overlapping_indices, picture, pretraining_pair
from clip_robustness.models.features import load_encoder
from clip_robustness.models.spec import parse
from clip_robustness.overlap.found import read
from clip_robustness.results.result import Check, Result
from clip_robustness.suites import load
from clip_robustness.verdicts.measure import measure
from clip_robustness.verdicts.overlap import compare
from tests.conftest import run_pytest, write_overlap

CLIP, SUPERVISED = parse("mini:clip"), parse("mini:supervised")

pytestmark = pytest.mark.filterwarnings("ignore")


def number(id):
    return int(id.rpartition("-")[2].removesuffix(".png"))


def settings(folder, suite=None, **changes):
    return Settings(
        suite or load("mini"),
        (CLIP,),
        (SUPERVISED,),
        None,
        480,
        0,
        "cpu",
        64,
        folder / "reports" / "run",
        False,
        **changes,
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return Session(settings(tmp_path_factory.mktemp("session")))


@pytest.mark.parametrize("name", OVERLAPPING)
def test_the_planted_near_duplicates_are_found(session, name):
    found = {number(id) for id in session.overlapping(name)}
    true = {i for i in overlapping_indices(name) if i < 480}
    assert len(true) == 120
    assert len(found & true) / len(found) >= 0.95
    assert len(found & true) / len(true) >= 0.95


def test_hardly_anything_is_found_where_nothing_was_planted(session):
    counts = {name: (len(one.pairs), one.n) for name, one in session.overlap.data.items() if name not in OVERLAPPING}
    assert set(counts) == {"imagenet", "imagenet-r", "imagenet-a", "objectnet", "imagenet-vid-robust", "ytbb-robust"}
    assert all(found <= 0.01 * n for found, n in counts.values()), counts


@pytest.mark.parametrize("name", OVERLAPPING)
def test_corrected_accuracies_agree_with_the_truth(session, name):
    cell, baseline = measure(session, Cell(CLIP, overlap(natural(name))), "test", 60)
    everything = session.without({}).correct(Cell(CLIP, natural(name)))
    truly = np.array([number(id) in overlapping_indices(name) for id in everything.ids])
    assert cell.accuracy == pytest.approx(everything.correct[~truly].mean(), abs=0.005)
    assert cell.metrics["accuracy_overlapping"] == pytest.approx(everything.correct[truly].mean(), abs=0.015)
    assert cell.metrics["accuracy_all"] == everything.correct.mean()
    assert cell.metrics["removed"] == pytest.approx(cell.metrics["accuracy_all"] - cell.accuracy)
    assert (cell.verdict, cell.family, baseline.role) == ("pass", "overlap", "supervised")
    assert "all - clean" in cell.reason


def test_a_flip_of_the_verdict_fails_and_doubt_is_inconclusive():
    def row(status):
        check = Check("max_drop_vs_supervised", -0.05, 0.0, (-0.1, 0.1), 0.5, 0.5, status, "")
        return Result("natural", "imagenet-v2", {}, "mini:clip", "candidate", status, "because", checks=(check,))

    verdicts = {(a, b): compare(row(a), row(b))[0] for a in ("pass", "fail", "inconclusive") for b in ("pass", "fail")}
    assert verdicts == {
        ("pass", "pass"): "pass",
        ("fail", "fail"): "pass",
        ("pass", "fail"): "fail",
        ("fail", "pass"): "fail",
        ("inconclusive", "pass"): "inconclusive",
        ("inconclusive", "fail"): "inconclusive",
    }
    assert compare(row("inconclusive"), row("inconclusive"))[0] == "inconclusive"
    weak = replace(row("fail"), verdict="known weakness")
    assert compare(weak, row("fail"))[0] == "pass"


def test_a_verdict_that_rests_on_remembered_images_fails(session, tmp_path):
    """Said to overlap is nearly everything that the candidate gets right and the baseline does not need."""
    everything = session.without({}).correct(Cell(CLIP, natural("imagenet-v2")))
    right = [id for id, correct in zip(everything.ids, everything.correct, strict=True) if correct]
    write_overlap(tmp_path / "overlap.json", {"imagenet-v2": right[:400]})
    suite = load("mini")
    conditions = suite.settings.conditions.model_copy(update={"overlap": str(tmp_path / "overlap.json")})
    suite = replace(suite, settings=suite.settings.model_copy(update={"conditions": conditions}))
    forged = Session(settings(tmp_path, suite))
    cell, _ = measure(forged, Cell(CLIP, overlap(natural("imagenet-v2"))), "test", 1)
    assert cell.verdict == "fail"
    assert not cell.passed
    assert "the verdict is 'pass' on all images and 'fail' on the clean ones" in cell.reason
    assert cell.metrics["removed_p"] < 1e-6
    assert "pre-training images: a shard" in cell.warnings
    with pytest.raises(MissingDataError, match="run clip-robustness overlap with --data imagenet-sketch"):
        measure(forged, Cell(CLIP, overlap(natural("imagenet-sketch"))), "test", 1)


def test_other_tests_run_on_the_clean_part(session, tmp_path):
    ids = session.overlapping("imagenet-v2")
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"imagenet-v2": sorted(ids)}))
    clean = Session(settings(tmp_path, exclude_overlap=file))
    assert len(clean.images(natural("imagenet-v2"))) == 480 - len(ids)
    assert len(clean.images(CLEAN)) == 480
    assert clean.images(CLEAN).warnings[-1].startswith("data set 'imagenet': --exclude-overlap does not name it")
    cell, _ = measure(clean, Cell(CLIP, overlap(natural("imagenet-v2"))), "test", 1)
    everything = session.without({}).correct(Cell(CLIP, natural("imagenet-v2")))
    assert cell.metrics["accuracy_all"] == everything.correct.mean()
    file.write_text('{"imagenet-v2": ["of another copy.png"]}')
    with pytest.raises(InputError, match="none of the 1 overlapping images is in it"):
        Session(settings(tmp_path, exclude_overlap=file)).images(natural("imagenet-v2"))


def test_the_command_writes_what_the_suite_takes(tmp_path, capsys):
    """Resumed in between, with a gallery that escapes what it shows."""
    web = tmp_path / "<web>"
    web.mkdir()
    for i in range(0, 480, 4):
        Image.fromarray(near_duplicate("imagenet-v2", i)[0]).save(web / f"{i:05d}.png")
    for i in range(1000, 1060):
        Image.fromarray(pretraining_pair(i)[0]).save(web / f"other-{i}.png")
    out = tmp_path / "out"
    command = ["--pretraining", str(web), "--encoder", "mini:filter", "--data", "imagenet-v2", "--out", str(out)]
    assert main(["overlap", *command]) == 0
    first = (out / "overlap.json").read_text()
    assert main(["overlap", *command]) == 0
    assert (out / "overlap.json").read_text() == first
    said = capsys.readouterr().out
    assert "180 pre-training images, search: exact" in said
    pairs = read(out / "overlap.json").data["imagenet-v2"].pairs
    right = [p for p in pairs if number(p.id) == int(p.near.removesuffix(".png").removeprefix("other-"))]
    assert len(right) >= 0.95 * max(120, len(pairs))
    page = (out / "gallery.html").read_text()
    assert page.count("<figure") == page.count("<figcaption") <= 60
    assert "<web>" not in page
    run = run_pytest(
        tmp_path / "reports" / "run", "-k", "imagenet-v2 and natural", f"--exclude-overlap={out / 'overlap.json'}"
    )
    assert run.code == 0, run.output
    assert run.cell("imagenet-v2")["n"] == 480 - len(pairs)


def test_ready_embeddings_are_compared_by_cosine_alone(tmp_path, capsys):
    """Of the encoder's own making; a shard of another width is left out, and said to be."""
    encoder = load_encoder(parse("mini:filter"), class_list("mini"), torch.device("cpu"))
    copies = encoder([Image.fromarray(picture("imagenet-v2", i)[0]) for i in range(0, 480, 8)])
    web = encoder([Image.fromarray(pretraining_pair(i)[0]) for i in range(1000, 1200)])
    place = tmp_path / "laion"
    for folder in ("img_emb", "metadata"):
        (place / folder).mkdir(parents=True)
    for shard, block in enumerate((copies, web, np.ones((3, 7), np.float32))):
        np.save(place / "img_emb" / f"img_emb_{shard}.npy", block)
        keys = pa.table({"image_path": [f"{shard}-{i}" for i in range(len(block))]})
        pq.write_table(keys, place / "metadata" / f"metadata_{shard}.parquet")
    out = tmp_path / "out"
    command = ["--pretraining", str(place), "--encoder", "mini:filter", "--data", "imagenet-v2", "--out", str(out)]
    assert main(["overlap", *command]) == 0
    said = capsys.readouterr().out
    assert "warning: laion/img_emb_2: left out: embeddings have 7 numbers" in said
    one = read(out / "overlap.json").data["imagenet-v2"]
    assert one.calibration.alike is None
    assert {number(pair.id) for pair in one.pairs if pair.cosine > 0.999} == set(range(0, 480, 8))
    assert "<img" in (out / "gallery.html").read_text()


def test_wrong_usage_is_one_sentence(tmp_path, capsys, toml, image_folder):
    base = ["--encoder", "mini:filter", "--out", str(tmp_path)]
    for arguments, says in (
        (["--pretraining", str(tmp_path / "none"), *base], "there is no such file or folder"),
        (["--pretraining", "mini:pretraining", "--data", "imagenet-v3", *base], "did you mean 'imagenet-v2'?"),
    ):
        assert main(["overlap", *arguments]) == 4
        assert says in capsys.readouterr().err
    place = image_folder({"m00000000": 1})
    (place / "m00000000" / "1.heic").touch()
    suite = toml(f'classes = "mini"\ncandidate = ["mini:clip"]\n[data]\nimagenet = "{place}"\n[conditions]\n')
    assert main(["overlap", "--suite", suite, "--pretraining", str(tmp_path / "none"), *base]) == 4
    assert "warning: data set 'imagenet': 1 file is not read (.heic 1)" in capsys.readouterr().err
    missing = run_pytest(tmp_path / "reports" / "run", "-k", "clean", f"--exclude-overlap={tmp_path / 'none.json'}")
    assert missing.code == 4, missing.output
    assert "none.json" in missing.output


def test_overlap_selects_the_overlap_tests_and_nothing_else(tmp_path):
    chosen = run_pytest(tmp_path / "run", "--collect-only", "-q", "-m", "overlap").output
    found = [line for line in chosen.splitlines() if "::" in line]
    expected = [c.id for c in load("mini").conditions if c.family == "overlap"]
    assert len(expected) == 8
    place = "robustness_tests/test_data_overlap.py::test_verdict_stays_without_overlap"
    assert sorted(found) == sorted(f"{place}[mini:clip-{id}]" for id in expected)
