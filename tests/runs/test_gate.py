"""The gate end to end: a worse checkpoint fails, a better one passes, and few images decide nothing."""

import gzip
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clip_robustness.__main__ import main
from clip_robustness.errors import InputError
from clip_robustness.fixtures.caveats import of_models
from clip_robustness.mini import train
from clip_robustness.reports.history import lines
from clip_robustness.results import gallery, history, results
from clip_robustness.results.result import Result
from clip_robustness.results.trajectory import series_of
from clip_robustness.verdicts.merge import exit_code

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

    def run(candidate, *args, samples=240, profile="release", suite=SUITE):
        if suite:  # else the one that is there
            toml(suite.format(candidate=candidate, samples=samples, profile=profile))
        run = suite_run(f"--suite={tmp_path / 'suite.toml'}", *args)
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
    shown = gallery.beside(worse.report_dir / "results.json")[regression.gallery]
    broken = [e for e in shown if e.image in regression.broken]
    assert len(broken) == 4
    assert all(e.recorded == e.label != e.after for e in broken)
    assert all(e.recorded != e.label == e.after for e in shown if e.image in regression.fixed)
    assert "taken for" in (worse.report_dir / "report.html").read_text()
    assert len(regression.fixed) - len(regression.broken) == round(regression.difference.value * regression.n)
    assert regression.broken[0] in worse.output

    worse, _ = gate(checkpoint(0.35), "--record", "bad")
    assert "bad.run.json.gz (did not hold, --compare latest passes it over: The gate fails in" in worse.output
    better, cells = gate("mini:clip", "--compare", "latest", "-k", "clean")
    assert better.code == 0
    assert cells["clean"].regression.run == "good"
    assert "compared with run 'good', recorded 20" in better.output
    assert "; newer ones did not hold: bad\n" in better.output
    assert "warning: candidate mini:clip is the model of the recorded run 'good'" in better.output
    better, cells = gate("mini:clip", "--compare", "bad", "-k", "clean", "-q")
    assert cells["clean"].regression.difference.value > 0
    assert "warning: compared with run 'bad', which did not hold: The gate fails in" in better.output


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


def test_images_that_were_replaced_are_not_compared(gate, image_folder):
    folder = image_folder({"m00000000": 12, "m00000001": 12}, "photos")
    data = SUITE.replace('"mini:imagenet"', f'"{folder}"')
    asked = ("-k", "clean", "--samples", "24")
    gate("mini:clip", "--record", "one", *asked, profile="research", suite=data)
    image_folder({"m00000000": 1}, "photos")  # writes the same image again: still the same
    Image.new("RGB", (80, 80)).save(folder / "m00000001" / "3.png")
    run, cells = gate("mini:clip", "--compare", "one", *asked, profile="research", suite=data)
    assert run.code == 0, run.output
    assert cells["clean"].regression.n == 23
    assert "1 of 24 images are not the same in the recorded run" in run.output


def test_stopping_early_gives_the_same_verdicts_on_fewer_images(gate, checkpoint):
    _, whole = gate(checkpoint(0.35), samples=480)
    run, early = gate(checkpoint(0.35), "--stop-early", samples=480)
    assert {label: cell.verdict for label, cell in early.items()} == {label: c.verdict for label, c in whole.items()}
    assert (early["clean"].n, early["clean"].n_skipped) == (480, 0)
    shift = early["imagenet-v2"]
    assert shift.verdict == "fail"
    assert 0 < shift.n < 480 == shift.n + shift.n_skipped
    assert "were settled early" in run.output
    assert f"settled early, {shift.n_skipped} images spared" in (run.report_dir / "report.html").read_text()


def test_a_weakness_that_is_gone_is_written_into_the_suite(gate, tmp_path):
    weak = SUITE + '[[rules]]\nmatch = "synthetic/*"\nmax_drop_vs_supervised = 0.05\nknown_weakness = "grey" # so far\n'
    run, cells = gate("mini:clip", "--update-thresholds", suite=weak)
    assert run.code == 1
    assert cells["imagenet-c contrast 2"].verdict == "improved"
    assert "suite.toml: rule 'synthetic/*': known_weakness removed" in run.output
    assert "known_weakness" not in (tmp_path / "suite.toml").read_text()
    run, cells = gate("mini:clip", suite="")
    assert run.code == 0
    assert cells["imagenet-c contrast 2"].verdict == "pass"


def test_the_gate_is_explained_without_running(gate):
    rules = '[[rules]]\nmatch = "synthetic/*"\nmax_drop_vs_supervised = 0.1\n'
    rules += '[[rules]]\nmatch = "clean/*"\noff = ["max_drop_vs_supervised"]\n'
    run, cells = gate("mini:clip", "--explain-gate", "-k", "contrast or clean", suite=SUITE + rules)
    assert run.code == 0
    assert not cells
    assert "1 limit shares alpha = 0.05" in run.output
    shown = "synthetic/imagenet-c-contrast-2: max_drop_vs_supervised = 0.1, by rule 'synthetic/*' of the suite, before "
    assert shown + "rule '*' of profile 'release'\n" in run.output
    assert "max_regression = 0.02, by rule '*' of profile 'release'; not checked: no --compare names a" in run.output
    assert "clean/clean: not gated: max_drop_vs_supervised is switched off by rule 'clean/*' of the suite" in run.output


def test_what_nothing_decides_is_never_called_holding(gate):
    nothing = SUITE + '[[rules]]\nmatch = "*"\noff = ["max_drop_vs_supervised"]\n[[rules]]\nmatch = "clean/*"\n'
    for profile, code in (("release", 5), ("paper", 0)):
        run, cells = gate("mini:clip", "-k", "clean", "-q", samples=24, profile=profile, suite=nothing)
        assert run.code == code, run.output
        assert cells["clean"].verdict == "not gated"
        assert "? Nothing is gated: no rule has a limit; 1 not gated\n" in run.output
        assert "warning: rule 'clean/*' of the suite sets no limit and changes nothing" in run.output
        assert "**Warning**: rule 'clean/\\*' of the suite sets" in (run.report_dir / "summary.md").read_text()


def test_a_candidate_that_is_its_own_baseline_is_noticed_by_the_quiet(gate):
    run, cells = gate("mini:clip", "--supervised", "mini:clip", "-k", "clean", "-q", samples=24, profile="research")
    assert cells["clean"].difference.value == 0
    said = "candidate mini:clip and supervised mini:clip are the same model (equal fingerprints)"
    assert f"warning: {said}" in run.output
    assert said in (run.report_dir / "report.html").read_text()


def a_run(tmp_path, name="one", verdict="pass", models=(), **more):
    right = history.CorrectImages(
        "m", "clean/clean", ("a/1.png", "a/2.png", "b/1.png"), torch.tensor([True, False, True]).numpy(), (7, 8, 9), "s"
    )
    cell = Result("clean", "clean", {}, "m", "candidate", verdict, "", accuracy=0.5, limits=1)
    found = results.Results("mini", {"seed": 0}, list(models), [cell], **more)
    return history.append(tmp_path, name, found, [history.packed(right)])


def test_what_is_recorded_is_read_again(tmp_path):
    run = history.read(a_run(tmp_path, "epoch/12 ü"))
    right = run.right["m", "clean/clean"]
    assert (run.name, right.ids, right.correct.tolist(), right.sizes, right.made_with) == (
        "epoch/12 ü",
        ("a/1.png", "a/2.png", "b/1.png"),
        [True, False, True],
        (7, 8, 9),
        "s",
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
        (b"no gzip", "damaged, or not a recorded run, as `run --record NAME` writes them$"),
        (gzip.compress(b"[]"), "not a recorded run"),
        (gzip.compress(json.dumps(newer).encode()), "schema 99, this version reads 1"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=says) as error:
            history.read(file)
        assert str(file) in str(error.value)
        assert file.read_bytes() == content


def test_only_a_damaged_file_that_may_be_the_one_asked_for_is_in_the_way(tmp_path):
    older, newer = a_run(tmp_path, "older"), a_run(tmp_path, "newer")
    older.write_bytes(b"")
    assert history.find(tmp_path, "latest", "mini").file == newer
    with pytest.raises(InputError, match=older.name):
        history.find(tmp_path, "older", "mini")


def test_the_latest_run_is_the_last_one_that_held(tmp_path):
    with pytest.raises(history.NoRunError, match="nothing is recorded there yet"):
        history.find(tmp_path, "latest", "mini")
    bad = a_run(tmp_path, "bad", "fail")
    with pytest.raises(history.NoRunError, match=r"none of the recorded runs of suite mini .* held \('bad'\)"):
        history.find(tmp_path, "latest", "mini")
    good = a_run(tmp_path, "good")
    a_run(tmp_path, "open", "inconclusive")
    a_run(tmp_path, "half", partial="The run was interrupted: 1 of 2 cells were not run.")
    run = history.find(tmp_path, "latest", "mini")
    assert (run.file, run.held, run.passed_over) == (good, True, ("half", "open"))
    by_name = history.find(tmp_path, "bad", "mini")
    assert (by_name.file, by_name.held) == (bad, False)
    recorded = [history.read(file) for file in history.files(tmp_path)]
    told = [line for line in lines(series_of(recorded)) if line.startswith("2")]
    assert [line.endswith("did not hold") for line in told] == [True, False, True, True]


def test_a_family_is_told_by_specs_also_of_models_with_a_name(tmp_path, capsys):
    models = [{"model": "m", "role": "candidate", "spec": "open_clip:ViT-B-32@epoch_12.pt"}]
    a_run(tmp_path, models=models)
    asked = "history", str(tmp_path), "--family"
    for family in ("open_clip:ViT-B-32", "m"):
        assert main([*asked, family]) == 0
        assert capsys.readouterr().out.count("\n") == 2
    assert main([*asked, "timm:"]) == 4
    assert (
        capsys.readouterr().err
        == "error: --family: 'timm:' is the beginning of no candidate's name or spec; known: m\n"
    )


def test_an_earlier_version_s_record_is_judged_by_its_results(tmp_path):
    for verdict in ("pass", "fail"):
        file = a_run(tmp_path, verdict, verdict)
        content = json.loads(gzip.decompress(file.read_bytes()))
        del content["held"]
        file.write_bytes(gzip.compress(json.dumps(content).encode()))
        assert history.read(file).held == (verdict == "pass")


def test_the_latest_file_is_printed_for_the_workflows(tmp_path, capsys):
    asked = "history", str(tmp_path), "--latest", "/elsewhere/mini.toml"
    assert main(asked) == 1
    a_run(tmp_path, "bad", "fail")
    assert main(asked) == 1
    good = a_run(tmp_path, "good")
    assert main(asked) == 0
    assert capsys.readouterr().out == f"{good}\n"
    a_run(tmp_path).write_bytes(b"")
    assert main(asked) == 4


MODEL = {"model": "a", "role": "candidate", "fingerprint": "1"}


def test_models_that_are_the_same_are_named(tmp_path):
    before = history.read(a_run(tmp_path))
    assert list(of_models([MODEL, MODEL | {"model": "b", "fingerprint": "2"}], before)) == []
    (said,) = of_models([MODEL, MODEL | {"model": "b", "role": "supervised"}], None)
    assert said.startswith("candidate a and supervised b are the same model")
    (said,) = of_models([MODEL, MODEL | {"model": "b"}], None)
    assert said.startswith("candidate a and candidate b are the same model")
    two_baselines = [MODEL | {"model": name, "role": "supervised"} for name in "bc"]
    assert list(of_models(two_baselines, None)) == []


def test_merging_where_nothing_is_gated_exits_as_a_run_does():
    cell = Result("clean", "clean", {}, "m", "candidate", "not gated", "", accuracy=0.5)
    run = results.Results("mini", {"require_limits": True}, [], [cell])
    assert exit_code(run) == 5
    assert exit_code(replace(run, environment={})) == 0
    assert exit_code(replace(run, cells=[replace(cell, limits=1, verdict="pass")])) == 0


def test_an_unknown_run_is_named_with_the_nearest(tmp_path):
    a_run(tmp_path, "epoch-11")
    with pytest.raises(InputError, match="did you mean 'epoch-11'"):
        history.find(tmp_path, "epoch-12", "mini")
