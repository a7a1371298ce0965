"""The outcome store: what is damaged is never trusted, what is sound is never lost."""

import io
import json
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from clip_robustness import models, suites
from clip_robustness.conditions.condition import any_corruption
from clip_robustness.errors import InputError
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.store import About, Block, Store
from clip_robustness.evaluation.store.command import exported, gc, listed, main, merge, shown
from tests import ROOT

ABOUT = About("mini:clip", "clean/clean", "imagenet", 0, "c0de", "2026-01-02T03:04:05+00:00")


def block(*ids, prediction=7, about=ABOUT, stamp="s", asked="0 7"):
    n = len(ids)
    return Block(
        about, ids, (stamp,) * n, ("d",) * n, (asked,) * n, (prediction,) * n, {"smallest_eps": (float("inf"),) * n}
    )


def known_of(store, cell="cell", ids="abcdef", stamp="s", digest="other", asked="0 7"):
    return store.known(cell, dict.fromkeys(ids, stamp), lambda _: digest, dict.fromkeys(ids, asked))


def predictions(store, **options):
    known = known_of(store, **options)
    return {id: answer.prediction for id, answer in known.answers.items()}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_what_is_added_is_known_again_with_its_measures(store):
    store.add("cell", block("a", "b"))
    known = known_of(store, ids="bc")
    assert list(known.answers) == ["b"]
    assert known.answers["b"].measures == {"smallest_eps": float("inf")}
    assert predictions(store, cell="another") == {}


def test_an_image_counts_by_the_stamp_of_its_file_or_else_by_its_content(store):
    store.add("cell", block("a"))
    assert predictions(store, stamp="t") == {}
    assert predictions(store, stamp="t", digest="d") == {"a": 7}


def test_an_answer_counts_for_what_was_asked_alone(store):
    """A label that is corrected: the answer to the one before stays, for whoever has that one."""
    store.add("cell", block("a", prediction=1, asked="0 7"))
    assert predictions(store, asked="0 8") == {}
    store.add("cell", block("a", prediction=2, asked="0 8"))
    assert [predictions(store, asked=asked) for asked in ("0 7", "0 8")] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_costs_its_block_alone(store, seed):
    for i, id in enumerate("abcdef"):
        store.add("cell", block(id, prediction=i))
    file, rng = store.file("cell"), random.Random(seed)
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    found = predictions(store)
    assert found.items() < {id: i for i, id in enumerate("abcdef")}.items()
    assert len(found) >= 4, "a line end that is flipped joins two blocks"
    assert known_of(store, ids="").damaged


@pytest.mark.parametrize("left", [0, 1, 100, 250])
def test_a_truncated_file_costs_what_was_cut_off(store, left):
    for id in "ab":
        store.add("cell", block(id))
    file = store.file("cell")
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    assert set(predictions(store)) == ({"a"} if left >= len(whole) / 2 else set())
    store.add("cell", block("c"))
    assert "c" in predictions(store), "what follows a torn line is not lost"


def test_a_block_under_another_name_is_not_trusted(store):
    store.add("cell", block("a"))
    store.file("cell").rename(store.file("another"))
    assert predictions(store, cell="another") == {}


def test_a_damaged_file_is_set_aside_and_the_sound_blocks_are_kept(store):
    store.add("cell", block("a"))
    with store.file("cell").open("ab") as file:
        file.write(b"nonsense\n")
    assert known_of(store).damaged == 1
    assert "1 of 2 blocks" in store.mend("cell")[0]
    assert known_of(store).damaged == 0
    assert predictions(store) == {"a": 7}
    assert b"nonsense" in (store.folder / "cell.damaged").read_bytes()


def test_a_block_is_whole():
    with pytest.raises(ValueError, match="for each image"):
        replace(block("a"), predictions=(1, 2))


def test_many_processes_write_one_cell(store):
    code = (
        "import sys; from pathlib import Path; from clip_robustness.evaluation.store import Store\n"
        "from tests.evaluation.test_store import block\n"
        "store, who = Store(Path(sys.argv[1])), sys.argv[2]\n"
        "for i in range(50): store.add('cell', block(f'{who}-{i}'))\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(store.folder), str(n)], cwd=ROOT) for n in range(3)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    blocks, _, damaged = store.read("cell")
    assert (len(blocks), damaged) == (150, 0)


def test_a_folder_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(InputError, match="give another --report-dir"):
        Store(tmp_path / "store")


def test_stores_are_merged_without_repetition(store, tmp_path):
    other = Store(tmp_path / "other")
    store.add("cell", block("a"))
    other.add("cell", block("a"))
    other.add("cell", block("b", prediction=8))
    other.add("new", block("c"))
    assert merge(store, [other]) == 2
    assert merge(store, [other]) == 0
    assert predictions(store) == {"a": 7, "b": 8}
    assert predictions(store, cell="new") == {"c": 7}


def test_old_blocks_and_those_of_other_code_are_removed(store):
    store.add("cell", block("a"))
    store.add("cell", block("b", about=replace(ABOUT, code="newer")))
    store.add("gone", block("c"))
    assert gc(store, lambda about: about.code == "newer") == 2
    assert predictions(store) == {"b": 7}
    assert store.cells() == ["cell"]


@pytest.fixture
def posterize(tmp_path, toml, nothing_registered):
    """A suite whose plugin file registers a corruption, which is known once the suite was read."""
    plugin = (
        "from clip_robustness import corruption\n@corruption('posterize')\ndef f(image, severity, rng): return image\n"
    )
    (tmp_path / "mine.py").write_text(plugin)
    return toml(
        'classes = "mini"\nplugins = ["mine.py"]\n[data]\nimagenet = "mini:imagenet"\n'
        '[conditions]\ncorruptions = { names = ["posterize"] }\n'
    )


def test_what_only_plugins_compute_is_stale_only_where_they_are_known(store, posterize, capsys):
    params, model = (("corruption", "posterize"), ("severity", 1)), "1234@mini"
    about = replace(ABOUT, condition="synthetic/corruption-posterize-1", name="corruption", params=params)
    store.add("stale", block("a", about=replace(about, code=f"0123-{model}")))
    store.add(
        "theirs", block("a", about=replace(ABOUT, name="clean", code="0123-1234@python:clip_robustness_plugin_0"))
    )
    collect = [f"--store={store.folder}", "gc", "--other-code"]
    main("store", collect)
    assert store.cells() == ["stale", "theirs"]
    said = capsys.readouterr().out
    assert "kept, as nothing here computes it: mini:clip under synthetic/corruption-posterize-1; name its suite" in said
    suites.load(posterize)
    now = f"{code_version(any_corruption('posterize', 1))}-{models.code_version('mini')}"
    store.add("fresh", block("b", about=replace(about, code=now)))
    main("store", [*collect, "--suite", posterize])
    assert store.cells() == ["fresh", "theirs"]


def test_locks_and_pictures_go_with_their_cells(store):
    store.add("cell", block("a", about=replace(ABOUT, code="newer")))
    for cell in ("cell", "gone"):
        with store.claimed(cell):
            pass
    (store.folder / "gallery").mkdir()
    for name in ("c0de-1.json", "newer-2.json"):
        (store.folder / "gallery" / name).write_text("[]")
    assert gc(store, lambda about: about.code == "newer") == 0
    assert [file.name for file in store.locks.iterdir()] == ["cell"]
    assert [file.name for file in (store.folder / "gallery").iterdir()] == ["newer-2.json"]


def test_whoever_reads_a_mended_cell_learns_of_it_until_the_damaged_file_is_removed(store):
    store.add("cell", block("a"))
    with store.file("cell").open("ab") as file:
        file.write(b"nonsense\n")
    (said,) = store.mend("cell")
    other = Store(store.folder)
    assert known_of(other).notes == (said,)
    gc(store, lambda _: True)
    assert known_of(other).notes == ()


def test_what_list_show_and_export_tell(store):
    store.add("cell", block("a", "b"))
    store.add("cell", block("a", prediction=9, about=replace(ABOUT, note="in batches of 8")))
    assert "2 images  mini:clip  clean/clean  imagenet  seed 0  code c0de" in " ".join(listed(store))
    assert "in batches of 8" in list(shown(store, "ce"))[-1]
    with pytest.raises(InputError, match="0 cells begin with 'x'"):
        list(shown(store, "x"))
    rows = list(exported(store))
    assert [(row["image"], row["prediction"]) for row in rows] == [("a", 9), ("b", 7)]
    assert rows[0]["condition"] == "clean/clean"


def test_the_commands(store, tmp_path):
    def called(*args):
        command = [sys.executable, "-m", "clip_robustness", "store", f"--store={store.folder}", *args]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    store.add("cell", block("a"))
    assert "clean/clean" in called("list").stdout
    assert "1 blocks, 0 damaged" in called("show", "c").stdout
    assert called("export", str(tmp_path / "all.jsonl")).returncode == 0
    assert json.loads((tmp_path / "all.jsonl").read_text())["image"] == "a"
    assert "1 blocks were removed" in called("gc", "--days", "30").stdout
    assert called("merge", str(tmp_path / "nowhere")).returncode == 4


def test_a_list_may_be_cut_off_by_who_reads_it(tmp_path, monkeypatch):
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    Store(tmp_path).add("cell", block("a"))
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main("store", ["--store", str(tmp_path), "list"]) == 0


@pytest.mark.parametrize(
    "after", [("list", "--store", "."), ("--store", ".", "list"), ("--store", "no", "list", "--store", ".")]
)
def test_the_folder_may_be_named_on_either_side_of_the_command(tmp_path, monkeypatch, capsys, after):
    monkeypatch.chdir(tmp_path)
    Store(tmp_path).add("cell", block("a"))
    assert main("store", after) == 0
    assert "clean/clean" in capsys.readouterr().out
