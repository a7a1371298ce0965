"""Runs that are split, balanced, limited or only planned: whole `pytest` processes."""

import json
import os
import signal
import time

import pytest

from clip_robustness import models
from clip_robustness.errors import InputError
from clip_robustness.reports.write import FILES
from clip_robustness.results.results import read
from clip_robustness.verdicts.merge import exit_code, merged
from tests.conftest import run_pytest
from tests.forks import Fork

SUITE = """
classes = "mini"
candidate = ["mini:clip", "mini:filter"]
supervised = ["mini:supervised"]
samples = 48
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
imagenet-sketch = "mini:imagenet-sketch"
[conditions]
natural = ["imagenet-v2", "imagenet-sketch", "imagenet-r"]
imagenet-c = { corruptions = ["fog"], severities = [3] }
attacks = { names = ["fgsm", "transfer-fgsm"], eps = ["1/255", "8/255"] }
[[rules]]
match = "*"
max_drop_vs_supervised = 0.02
[[rules]]
match = "natural/imagenet-sketch"
max_drop_vs_clean = 0.0
"""
FEW = """
classes = "mini"
candidate = ["mini:clip"]
samples = 40
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
[conditions]
natural = ["imagenet-v2"]
[[rules]]
match = "*"
min_accuracy = 0.0
"""


def late(spec, classes, device):
    """mini:clip, in more than a second."""
    time.sleep(1.1)
    return models.load("mini:clip", classes, device)


def deadly(spec, classes, device):
    """mini:clip, whose process dies when it is asked for a gradient."""
    inner = models.load("mini:clip", classes, device)
    forward = inner.net.forward

    def dies(images):
        if images.requires_grad:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(images)

    inner.net.forward = dies
    return inner


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    file = tmp_path_factory.mktemp("suite") / "suite.toml"
    file.write_text(SUITE)
    return f"--suite={file}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, suite):
    return run_pytest(tmp_path_factory.mktemp("whole") / "reports" / "run", suite)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, suite):
    """Two of three as one process, one with workers; each with a store of its own, as on machines of a CI."""
    folders = [tmp_path_factory.mktemp("shard") / "reports" / "run" for _ in range(3)]
    workers = [(), ("-n", "2"), ()]
    return [
        run_pytest(folder, suite, f"--shard={i}/3", *more)
        for i, (folder, more) in enumerate(zip(folders, workers, strict=True), 1)
    ]


def files(shards):
    return [run.report_dir / "results.json" for run in shards]


def without_seconds(cells):
    return [{key: value for key, value in cell.items() if key != "seconds"} for cell in cells]


def test_merged_shards_give_the_rows_verdicts_guards_and_summaries_of_one_run(whole, shards, tmp_path):
    own = [{c["test"] for c in run.cells if c["role"] == "candidate"} for run in shards]
    assert all(own)
    assert sum(map(len, own)) == len(set.union(*own)) == 20
    code, said = Fork("clip_robustness", "merge", *map(str, reversed(files(shards))), "-o", str(tmp_path)).communicate()
    raw, expected = (json.loads((f / "results.json").read_text()) for f in (tmp_path, whole.report_dir))
    assert without_seconds(raw["cells"]) == without_seconds(expected["cells"])
    assert [c["verdict"] for c in raw["cells"]].count("fail") > 1  # so that Holm's correction had something to do
    for key in ("guards", "summaries", "models", "suite", "shard"):
        assert raw[key] == expected[key]
    assert raw["guards"]
    assert code == whole.code == 1, said
    assert {p.name for p in tmp_path.iterdir()} == set(FILES)


def test_a_shard_judges_with_the_limits_of_the_whole_run(whole, shards):
    """Alone it would share alpha with fewer others, and fail what the whole run does not."""
    verdicts = {cell["test"]: cell["verdict"] for cell in whole.cells if cell["role"] == "candidate"}
    for run in shards:
        for cell in run.cells:
            if cell["role"] == "candidate" and cell["verdict"] != verdicts[cell["test"]]:
                assert (cell["verdict"], verdicts[cell["test"]]) == ("inconclusive", "fail")
        assert run.code == int(
            "fail" in {c["verdict"] for c in run.cells} or "error" in {c["verdict"] for c in run.cells}
        )


def test_a_missing_shard_is_an_error_of_each_of_its_cells(whole, shards):
    found = merged(files(shards)[:2])
    absent = [cell for cell in found.cells if cell.reason == "shard 3/3 is missing"]
    third = {c["test"] for c in shards[2].cells if c["role"] == "candidate"}
    assert {cell.test for cell in absent} == third
    assert {cell.verdict for cell in absent} == {"error"}
    assert exit_code(found) == 1


def test_what_can_not_be_merged_is_said_in_a_sentence(whole, shards, tmp_path, suite):
    first, second, third = files(shards)
    with pytest.raises(InputError, match=r"not of a shard; run with --shard K/N"):
        merged([whole.report_dir / "results.json"])
    with pytest.raises(InputError, match=r"both have .*; give each shard once"):
        merged([first, second, first, third])
    other = tmp_path / "results.json"
    for key, value, said in (("seed", 1, "seed 1, not 0"), ("code_version", "x", "code_version x, not ")):
        raw = json.loads(third.read_text())
        raw["environment"][key] = value
        other.write_text(json.dumps(raw))
        with pytest.raises(InputError, match=f"{other} is no shard of the same run as {first}: {said}"):
            merged([first, second, other])
    raw = json.loads(third.read_text())
    del raw["environment"]["alpha"]
    other.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=f"{other}: its environment says nothing of alpha; run that shard once more"):
        merged([other, first])
    raw = json.loads(third.read_text())
    raw["models"][0]["fingerprint"] = "0"
    other.write_text(json.dumps(raw))
    with pytest.raises(InputError, match="other models, or other weights"):
        merged([first, second, other])
    other.write_text("no JSON")
    with pytest.raises(InputError, match=r"not a results\.json"):
        merged([first, other])


def test_more_shards_than_work_leave_empty_ones_that_hold(suite, suite_run):
    run = suite_run(suite, "--shard=2/2", "-k", "mini:clip-imagenet-v2")
    assert run.code == 0, run.output
    assert read(run.report_dir / "results.json").shard.count == 2
    assert run.cells == []


def test_a_shard_can_not_be_recorded(suite, suite_run):
    run = suite_run(suite, "--shard=1/2", "--record=x")
    assert run.code == 4
    assert "--record records whole runs" in run.output


def test_workers_share_no_condition_and_give_the_same_rows(whole, suite, suite_run):
    run = suite_run(suite, "-n", "2", "-v")
    assert run.code == whole.code
    assert without_seconds(run.cells) == without_seconds(whole.cells)
    workers = {}
    for line in run.output.splitlines():
        if line.startswith("[gw") and "::" in line:
            condition = line.rpartition("[")[2].split("]")[0].removeprefix("mini:clip-").removeprefix("mini:filter-")
            workers.setdefault(condition, set()).add(line[:5])
    assert len(workers) == 10
    assert all(len(who) == 1 for who in workers.values()), workers
    assert len(set.union(*workers.values())) == 2


def test_cells_end_as_early_in_workers_and_in_shards(suite, tmp_path):
    whole, workers, *shards = (
        run_pytest(tmp_path / str(i) / "run", suite, "--stop-early", "-k", "mini:clip", *how)
        for i, how in enumerate([(), ("-n", "2"), ("--shard=1/2",), ("--shard=2/2",)])
    )
    assert sum(cell["n_skipped"] for cell in whole.cells) > 0
    assert without_seconds(workers.cells) == without_seconds(whole.cells)
    merged_rows = json.loads(merged(files(shards)).to_json())["cells"]
    assert without_seconds(merged_rows) == without_seconds(whole.cells)


def test_a_cell_that_kills_its_worker_is_reported_and_not_tried_for_ever(toml, suite_run):
    deadly = FEW.replace("mini:clip", "python:tests.runs.test_parts:deadly")
    suite = deadly.replace("[[rules]]", 'attacks = { names = ["fgsm"], eps = ["8/255"] }\n[[rules]]')
    run = suite_run(f"--suite={toml(suite)}", "-n", "2")
    assert run.code == 1
    assert run.cell("fgsm 8/255")["reason"] == "the run ended before it, or its worker crashed"
    assert [run.cell(name)["verdict"] for name in ("clean", "imagenet-v2")] == ["pass", "pass"]
    assert run.output.count("node down") == 1


def test_what_the_time_did_not_suffice_for_is_not_run(toml, suite_run):
    """Nothing was measured: 5. Stored cells still count, and what did not run is no pass under --require-all."""
    suite = f"--suite={toml(FEW.replace('mini:clip', 'python:tests.runs.test_parts:late'))}"
    run = suite_run(suite, "--time-limit=1s")
    assert run.code == 5, run.output
    assert {cell["verdict"] for cell in run.cells} == {"not run"}
    assert "the --time-limit of 1s was reached with 0 of 40 images stored" in run.cells[0]["reason"]
    assert "the time limit left 2 gating cells" in run.output
    assert suite_run(suite, "-k", "clean").code == 0
    partly = suite_run(suite, "--time-limit=1s")
    assert partly.code == 0, partly.output
    assert (partly.cell("imagenet-v2")["verdict"], partly.cell("clean")["verdict"]) == ("not run", "pass")
    strict = suite_run(suite, "--time-limit=1s", "--require-all")
    assert strict.code == 1
    assert strict.cell("imagenet-v2")["verdict"] == "error"
    assert strict.cell("imagenet-v2")["reason"].startswith("the --time-limit of 1s was reached")


def test_a_dry_run_says_what_would_run_and_leaves_nothing(suite, tmp_path):
    folder = tmp_path / "reports" / "run"
    run = run_pytest(folder, suite, "--dry-run", "-n", "2")
    assert run.code in (0, 5), run.output
    assert not folder.parent.exists()
    line = next(line for line in run.output.splitlines() if line.startswith("adversarial/fgsm-1/255 "))
    assert line.split()[1:5] == ["3", "144", "0", "288"]
    assert "natural/imagenet-r" in run.output
    assert 'not run: no data: add imagenet-r = "/path/to/imagenet-r"' in run.output
    assert "memory: 2 x " in run.output
    assert "points beyond it" in run.output
    assert run_pytest(folder, suite, "-k", "fgsm-1/255").code in (0, 1)
    again = run_pytest(folder, suite, "--dry-run", "-k", "fgsm")
    stored = {line.split()[0]: line.split()[3] for line in again.output.splitlines() if line.startswith("adv")}
    assert stored["adversarial/fgsm-1/255"] == "144"
    assert stored["adversarial/fgsm-8/255"] == "0"
