"""What is made of files that are no whole run's: shards that ended early, and JSON that no run wrote."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clip_robustness.__main__ import main
from clip_robustness.errors import InputError
from clip_robustness.reports import command as command
from clip_robustness.reports.write import FILES
from clip_robustness.results.results import Planned, Results, Shard, read
from clip_robustness.verdicts.merge import exit_code, merged
from tests.reports.test_reports import BASELINE, PASSED, RESULTS, everything
from tests.test_security import changed, paths

ABOUT = {"suite_file": "s.toml", "samples": 48, "seed": 0, "classes": "mini", "alpha": 0.05}
ABOUT |= {"correction": "holm", "report_only": False, "require_limits": False, "code_version": "1"}
ROWS = [replace(PASSED, condition=name, test=name) for name in ("fgsm", "bim", "mim", "pgd")]
SELECTED = [Planned(row.test, row.family, row.condition, row.params, row.model) for row in ROWS]
SELECTION = "4 of 82 cells selected."


def shard(index, cells, **more):
    return Results("s", ABOUT, [], [*cells, BASELINE], shard=Shard(index, 2, SELECTED), **more)


def not_run(row):
    reset = {"n": 0, "correct": 0, "accuracy": None, "ci95": None, "supervised": None, "difference": None}
    return replace(row, verdict="not run", reason="the run ended before it, or its worker crashed", **reset)


@pytest.fixture
def written(tmp_path):
    def write(*shards):
        files = []
        for i, results in enumerate(shards):
            (tmp_path / str(i)).mkdir(exist_ok=True)
            files.append(tmp_path / str(i) / "results.json")
            files[-1].write_text(results.to_json())
        return files

    return write


def test_two_whole_shards_hold(written):
    found = merged(written(shard(1, ROWS[:2]), shard(2, ROWS[2:])))
    assert (exit_code(found), found.partial, found.unfinished) == (0, "", "")


def test_attacks_that_are_not_installed_here_have_no_guards_and_that_is_said(written, capsys, tmp_path):
    files = written(shard(1, [*ROWS[:2], replace(ROWS[0], condition="signs", test="signs")]), shard(2, ROWS[2:]))
    command.main("merge", [*map(str, files), "-o", str(tmp_path / "whole")])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "guards of attack 'signs' are left out, nobody registered it here; give --suite"


def test_what_an_interrupted_shard_lacks_is_an_error(written):
    said = "The run was ended by SIGTERM: 1 of 2 cells were not run."
    ended = shard(2, [ROWS[2], not_run(ROWS[3])], partial=said, missing=("pgd",))
    found = merged(written(shard(1, ROWS[:2]), ended))
    (lost,) = [cell for cell in found.cells if cell.verdict == "error"]
    assert (lost.test, lost.reason) == ("pgd", "shard 2/2 ended before it; run that shard once more")
    assert found.partial == f"Shard 2/2: {said}"
    assert exit_code(found) == 1


def test_a_cell_without_data_is_no_error_of_a_shard_that_was_interrupted(written):
    without = replace(not_run(ROWS[2]), reason="no data: add imagenet-v2")
    ended = shard(2, [without, not_run(ROWS[3])], partial="The run was interrupted.", missing=("pgd",))
    found = merged(written(shard(1, ROWS[:2]), ended))
    assert {cell.test: cell.verdict for cell in found.cells if cell.test in ("mim", "pgd")} == {
        "mim": "not run",
        "pgd": "error",
    }


def test_a_shard_that_ended_before_anything_is_one_that_is_missing(written):
    said = "The run ended before anything was measured: SIGTERM was received"
    ended = Results("s", {"command": []}, [], [], shard=Shard(2, 2, []), partial=said)
    found = merged(written(shard(1, ROWS[:2]), ended))
    assert [cell.reason for cell in found.cells if cell.verdict == "error"] == [f"shard 2/2: {said}"] * 2
    assert found.partial == f"Shard 2/2: {said}"
    assert exit_code(found) == 1
    with pytest.raises(InputError, match=re.escape(said)):
        merged(written(ended))


def test_what_all_shards_left_out_is_said_once_and_is_no_failure(written):
    found = merged(written(shard(1, ROWS[:2], partial=SELECTION), shard(2, ROWS[2:], partial=SELECTION)))
    assert (found.partial, exit_code(found)) == (SELECTION, 0)


def run(capsys, *args):
    """The command's exit code and what it says."""
    code = main([*map(str, args)])
    out, err = capsys.readouterr()
    return code, out + err


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just({"x": 1}), st.just([None]), st.sampled_from(["8/255", "1/0", "\ud800", "x\n::error::y"]),
)  # fmt: skip


FEW = replace(everything(), environment=ABOUT, shard=Shard(1, 2, SELECTED))
GOOD = json.loads(replace(FEW, cells=FEW.cells[::3]).to_json())
PLACES = [path for path in paths(GOOD) if path]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(changes=[(("cells", at, "condition"), "\ud800") for at in range(len(GOOD["cells"]))])
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_json_gives_a_result_or_one_sentence(tmp_path, monkeypatch, capsys, changes):
    raw = GOOD
    for path, value in changes:
        try:
            raw = changed(raw, path, value)
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    (tmp_path / "in").mkdir(exist_ok=True)
    file = tmp_path / "in" / "results.json"
    file.write_text(json.dumps(raw))
    out = tmp_path / "out"
    for asked in (("merge", file, "-o", out), ("render", file, "--out", out), ("annotations", file), ("comment", file)):
        code, said = run(capsys, *asked)
        assert code in (0, 1, 3, 4, 5), said
        assert "Traceback" not in said
        assert not re.search(r"^\s*::error::y", said, re.MULTILINE), "a command to the runner"
        if code == 4:
            assert str(file) in said.splitlines()[-1], said
        elif asked[0] == "merge":
            assert {f.name for f in out.iterdir()} == set(FILES)
            assert read(out / "results.json").shard is None
        elif code == 3:
            assert "could not be made: " in said


@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_of_any_shape_is_named(tmp_path, raw):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=re.escape(f"{file}: not a results.json of this suite: ")) as error:
        read(file)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_utf_8_loses_no_run(tmp_path):
    odd = replace(RESULTS, cells=[replace(PASSED, model="open_clip:x@\udcff.pt")], environment={"\udcff": ["\udcff"]})
    (tmp_path / "results.json").write_text(odd.to_json())
    found = read(tmp_path / "results.json")
    assert found.cells[0].model == "open_clip:x@\\udcff.pt"
    assert found.environment == {"\\udcff": ["\\udcff"]}
