"""The gate end to end: a worse checkpoint fails, a better one passes, and few images decide nothing."""

import gzip
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from metrics import results
from models.errors import InputError
from models.mini import train
from reports import history

SUITE = """
classes = "mini"
candidate = ["{candidate}"]
supervised = ["mini:supervised"]
samples = {samples}
profile = "{profile}"
[data]
imagenet = "mini:imagenet"
imagenet-v2 = "mini:imagenet-v2"
[conditions]
natural = ["imagenet-v2"]
imagenet-c = {{ corruptions = ["contrast"], severities = [2] }}
"""


@pytest.fixture
def checkpoint(tmp_path):
    """Write mini:clip with noise on its weights, relative to their spread; returns its spec."""

    def write(noise):
        torch.manual_seed(0)
        weights = {key: value.float() for key, value in load_file(train.CLIP_WEIGHTS).items()}
        noisy = {
            key: value + noise * value.std() * torch.randn_like(value) if value.ndim > 1 else value
            for key, value in weights.items()
        }
        save_file(noisy, tmp_path / f"noise-{noise}.safetensors")
        return f"open_clip:mini-clip@{tmp_path / f'noise-{noise}.safetensors'}"

    return write


@pytest.fixture
def gate(suite_run, toml, tmp_path):
    """Run the gate for a candidate; returns the run, and its candidate's cells by label."""

    def run(candidate, *args, samples=240, profile="release"):
        suite = toml(SUITE.format(candidate=candidate, samples=samples, profile=profile))
        run = suite_run(f"--suite={suite}", *args)
        file = tmp_path / "reports" / "run" / "results.json"
        cells = results.read(file).cells if file.is_file() else []
        return run, {cell.label: cell for cell in cells if cell.role == "candidate"}

    return run


def test_a_worse_checkpoint_fails_and_the_recorded_one_passes(gate, checkpoint, tmp_path):
    good, cells = gate("mini:clip", "--record", "good")
    assert good.code == 0, good.output
    assert {cell.verdict for cell in cells.values()} == {"pass"}
    assert "max_regression is not checked: no --compare" in good.output

    worse, cells = gate(checkpoint(0.35), "--compare", "good")
    assert worse.code == 1
    assert cells["clean"].verdict == "fail"
    assert "difference to the recorded run" in cells["clean"].reason
    regression = cells["clean"].regression
    assert len(regression.broken) > len(regression.fixed)
    assert len(regression.fixed) - len(regression.broken) == round(regression.difference.value * regression.n)
    assert regression.broken[0] in worse.output

    worse, _ = gate(checkpoint(0.35), "--record", "bad")
    better, cells = gate("mini:clip", "--compare", "latest")
    assert better.code == 0
    assert cells["clean"].regression.run == "bad"
    assert cells["clean"].regression.difference.value > 0
    assert (tmp_path / "reports" / "history").is_dir()


def test_few_images_decide_nothing_and_a_release_says_so(gate):
    run, cells = gate("mini:clip", samples=24)
    assert run.code == 1
    assert {cell.verdict for cell in cells.values()} >= {"inconclusive"}
    assert "more images would decide" in cells["clean"].reason
    run, cells = gate("mini:clip", samples=24, profile="research")
    assert run.code == 0
    assert "inconclusive" in {cell.verdict for cell in cells.values()}


def test_a_broken_checkpoint_is_wrong_usage_before_anything_runs(gate, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    run, cells = gate(f"open_clip:mini-clip@{tmp_path / 'broken.safetensors'}")
    assert run.code == 4
    assert "broken.safetensors" in run.output
    assert not cells


def test_another_seed_is_not_compared_and_says_so(gate):
    gate("mini:clip", "--record", "one", "-k", "clean")
    run, cells = gate("mini:clip", "--compare", "one", "--seed", "1", "-k", "clean", profile="research")
    assert run.code == 0
    assert cells["clean"].regression.difference is None
    assert "not compared: run 'one' has seed 0, this one 1" in run.output


def test_the_gate_is_explained_without_running(gate):
    run, cells = gate("mini:clip", "--explain-gate", "-k", "contrast")
    assert run.code == 0
    assert not cells
    assert "2 limits share alpha = 0.05" in run.output
    assert (
        "synthetic/imagenet-c-contrast-2: max_drop_vs_supervised = 0.05, max_regression = 0.02, by rule '*'"
        in run.output
    )


def a_run(tmp_path, name="one"):
    right = history.Right(
        "m", "clean/clean", ("a/1.png", "a/2.png", "b/1.png"), torch.tensor([True, False, True]).numpy()
    )
    found = results.Results("mini", {"seed": 0}, [], [])
    return history.append(tmp_path, name, found, [history.packed(right)])


def test_what_is_recorded_is_read_again(tmp_path):
    run = history.read(a_run(tmp_path, "epoch/12 ü"))
    right = run.right["m", "clean/clean"]
    assert (run.name, right.ids, right.correct.tolist()) == (
        "epoch/12 ü",
        ("a/1.png", "a/2.png", "b/1.png"),
        [True, False, True],
    )
    assert (
        history.find(tmp_path, "latest", "mini").file == history.find(tmp_path, "epoch/12 ü", "other").file == run.file
    )


def test_bad_history_files_are_named_and_left_alone(tmp_path):
    file = a_run(tmp_path)
    whole = file.read_bytes()
    newer = json.loads(gzip.decompress(whole)) | {"schema": 99}
    for content, says in (
        (whole[: len(whole) // 2], "truncated"),
        (b"", "truncated|not a recorded run"),
        (b"no gzip", "not a recorded run"),
        (gzip.compress(b"[]"), "not a recorded run"),
        (gzip.compress(json.dumps(newer).encode()), "schema 99, this version reads 1"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=says) as error:
            history.read(file)
        assert str(file) in str(error.value)
        assert file.read_bytes() == content


def test_an_unknown_run_is_named_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match="nothing is recorded there yet"):
        history.find(tmp_path, "latest", "mini")
    a_run(tmp_path, "epoch-11")
    with pytest.raises(InputError, match="did you mean 'epoch-11'"):
        history.find(tmp_path, "epoch-12", "mini")
