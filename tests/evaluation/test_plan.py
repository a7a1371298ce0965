"""What runs where and in which order: costs, shards, units, time limits. Nothing is evaluated here."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clip_robustness import models, suites
from clip_robustness.conditions.benchmark import ATTACKS, CORRUPTIONS
from clip_robustness.conditions.condition import CLEAN, Condition, attack, corruption, natural
from clip_robustness.conditions.worst import worst_of
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.errors import InputError, NotRunError
from clip_robustness.evaluation.costs import Costs, images, passes, read_costs
from clip_robustness.evaluation.deadline import Deadline, parse_shard, parse_time
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.needs import needs
from clip_robustness.evaluation.plan import dearest_first, informative_first, shard, units
from clip_robustness.evaluation.settings import Cell, Settings, cells_of
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.evidence import rejected
from clip_robustness.mini.data import mini_folder
from clip_robustness.models.spec import parse
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

SUITE = suites.load("mini")


def settings(candidates=("mini:clip",), **changes):
    own = Settings(
        suite=SUITE, candidates=tuple(parse(c) for c in candidates), supervised=(parse("mini:supervised"),),
        surrogate=None, samples=480, seed=0, device="cpu", batch_size=64, report_dir=Path("r"), require_all=False,
    )  # fmt: skip
    return replace(own, **changes)


def cells_in(own):
    return [Cell(m, c) for c in own.suite.conditions for m in own.candidates]


TWO = settings(("mini:clip", "mini:filter"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1m30", 90)]
)
def test_time_limits(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "2 h", "1d", "h", "-5", "1.5h", "30m1h"])
def test_what_is_no_time_limit(text):
    with pytest.raises(InputError, match="write it as 90 or 90s, 30m, 2h or 1h30m"):
        parse_time(text)


def test_a_deadline_passes_and_says_what_is_stored():
    Deadline(time.monotonic() + 100, "100s").check(0, 10)
    with pytest.raises(NotRunError, match="--time-limit of 2h was reached with 3 of 10 images stored"):
        Deadline(time.monotonic() - 1, "2h").check(3, 10)


class PassesAt(Deadline):
    """After it was asked so often."""

    asked = 0

    @property
    def passed(self):
        PassesAt.asked += 1
        return PassesAt.asked > self.at


def test_a_cell_ends_between_blocks_and_goes_on_there(tmp_path, monkeypatch):
    monkeypatch.setattr(PassesAt, "asked", 0)
    classes, store = class_list("mini"), Store(tmp_path / "store")
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), classes), 48, seed=0)
    classifier = models.load("mini:clip", classes)
    cpu = torch.device("cpu")
    limited = Evaluator(store, device=cpu, batch_size=16, deadline=PassesAt(2, "2h"))
    with pytest.raises(NotRunError, match="32 of 48 images stored"):
        limited(classifier, CLEAN, images)
    free = Evaluator(store, device=cpu, batch_size=16)
    assert len(free.missing(classifier, CLEAN, images)) == 16
    complete = free(classifier, CLEAN, images)
    assert len(complete.ids) == 48
    assert (
        limited(classifier, CLEAN, images).predictions == complete.predictions
    ).all()  # what is stored needs no time


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "1/3/5", "-1/3"])
def test_what_is_no_shard(text):
    with pytest.raises(InputError, match="third of eight"):
        parse_shard(text)
    assert parse_shard("3/8") == (3, 8)


@given(count=st.integers(1, 12), chosen=st.sets(st.integers(0, 2 * len(SUITE.conditions) - 1), min_size=1))
def test_shards_are_disjoint_and_complete_whatever_was_selected(count, chosen):
    cells = [cell for i, cell in enumerate(cells_in(TWO)) if i in chosen]
    parts = [shard(cells, Costs(TWO), i, count) for i in range(1, count + 1)]
    assert sum(len(part) for part in parts) == len(cells)
    assert set.union(*parts) == set(cells)


def test_shards_are_balanced_by_cost():
    """No shard takes longer than the mean and the dearest thing that can't be split."""
    cells, costs = cells_in(TWO), Costs(TWO)
    loads = [sum(u.cost for u in units(list(shard(cells, costs, i, 4)), costs, 1)) for i in range(1, 5)]
    dearest = max(unit.cost for unit in units(cells, costs, 4))
    assert max(loads) <= sum(loads) / 4 + dearest
    assert max(loads) < 1.1 * min(loads)


@pytest.mark.parametrize(("count", "together"), [(2, True), (80, False)])
def test_a_mean_runs_where_its_cells_do_if_they_are_a_fair_share(count, together):
    """Elsewhere it would compute them once more; where they are too much for one shard, it does."""
    conditions = [corruption(name, severity) for name in CORRUPTIONS for severity in (1, 2, 3, 4, 5)]
    mean = Condition("synthetic", "imagenet-c-mce")
    attacks = [attack(name, "8/255") for name in ATTACKS if name != "typographic"]
    cells = [Cell(m, c) for c in (*conditions, mean, *attacks) for m in TWO.candidates]
    costs = Costs(replace(TWO, suite=replace(SUITE, conditions=(*conditions, mean, *attacks))))
    parts = [shard(cells, costs, i, count) for i in range(1, count + 1)]
    assert sum(map(len, parts)) == len(cells)
    with_mean = [part for part in parts if any(cell.condition == mean for cell in part)]
    with_cells = [part for part in parts if any(cell.condition.name == "imagenet-c" for cell in part)]
    assert (with_mean == with_cells) == together


@pytest.mark.parametrize(("count", "together"), [(2, True), (80, False)])
def test_a_worst_case_runs_where_its_members_do_if_they_are_a_fair_share(count, together):
    attacks = [attack(name, "8/255") for name in ("fgsm", "bim", "mim", "pgd", "deepfool")]
    worst = worst_of(attacks[1:3])
    cells = [Cell(m, c) for c in (*attacks, worst) for m in TWO.candidates]
    parts = [shard(cells, Costs(TWO), i, count) for i in range(1, count + 1)]
    assert sum(map(len, parts)) == len(cells)
    with_worst = [part for part in parts if any(cell.condition == worst for cell in part)]
    assert (with_worst == [part for part in parts if any(cell.condition in attacks[1:3] for cell in part)]) == together
    free = [unit.cost for unit in units(cells, Costs(TWO), 1) if unit.cells[0].condition == worst]
    alone = [unit.cost for unit in units(cells[-2:], Costs(TWO), 1)]
    assert free == [0]
    assert alone == [sum(unit.cost for unit in units(cells[2:6], Costs(TWO), 1))]


def test_candidates_that_share_images_go_together_and_so_do_cells_of_one_computation():
    """DeepFool has no eps: cells at several are the same computation, and a second worker would wait for the first."""
    found = units(cells_in(TWO), Costs(TWO), 2)
    deepfool = [unit for unit in found if unit.cells[0].condition.name == "deepfool"]
    assert len(deepfool) == 1
    assert len(deepfool[0].cells) == 6
    assert sorted(u.cost for u in found) == sorted(u.cost for u in units(cells_in(TWO)[::-1], Costs(TWO), 2))
    ((condition, _),) = ((c, m) for c, m in needs(TWO, deepfool[0].cells[::-1]).items() if c.name == "deepfool")
    assert condition.samples == 120, "the cells with fewer images have theirs from these"
    assert all(len(unit.cells) % 2 == 0 for unit in found)
    costs = [unit.cost for unit in dearest_first(found)]
    assert costs == sorted(costs, reverse=True)


def test_one_condition_is_split_by_model_so_that_no_worker_is_idle():
    cells = [Cell(m, attack("bim", "8/255")) for m in TWO.candidates]
    assert [len(unit.cells) for unit in units(cells, Costs(TWO), 2)] == [1, 1]
    assert [len(unit.cells) for unit in units(cells, Costs(TWO), 1)] == [2]


def test_a_limited_run_begins_with_what_the_gate_decides():
    order = informative_first(cells_in(TWO), Costs(TWO))
    assert sorted(c.id for c in order) == sorted(c.id for c in cells_in(TWO))
    families = [cell.condition.compared.family for cell in order]
    clean = families.count("clean")
    assert set(families[:clean]) == {"clean"}
    # two candidates each, and under a natural shift also without the overlap
    assert set(families[clean : clean + 8]) == {"adversarial", "natural", "synthetic"}
    decided = {c.condition.computation for c in order if TWO.firm(c.condition)}
    decides = [cell.condition.computation in decided for cell in order]
    assert decides == sorted(decides, reverse=True)
    assert not all(decides)
    for one, other in zip(order[::2], order[1::2], strict=True):  # together: their images are changed once
        assert one.condition.computation == other.condition.computation


def test_costs_follow_images_and_passes():
    assert images(settings(samples=None, suite=suites.load("photos")), CLEAN) == 50_000
    assert images(settings(), natural("imagenet-a")) == 240
    assert images(settings(), natural("imagenet-vid-robust")) == 128 * 21
    assert images(settings(samples=100), replace(CLEAN, samples=7)) == 7
    assert passes(attack("bim", "8/255")) > passes(attack("fgsm", "8/255")) > passes(CLEAN) == 1
    assert passes(attack("bim", "min")) > passes(attack("bim", "8/255"))
    assert passes(attack("nes", "8/255")) == 5 * passes(attack("nes", "8/255", pairs=20))


def test_measured_seconds_replace_estimates_and_scale_the_others(tmp_path):
    """Fog took ten times of what the table says for clean images; what is unknown is put into seconds."""
    params = {"corruption": "fog", "severity": 3}
    rows = [
        Result("synthetic", "imagenet-c", params, "mini:clip", "candidate", "pass", "", accuracy=1.0, seconds=40.0),
        Result("clean", "clean", {}, "mini:clip", "candidate", "pass", "", accuracy=1.0, seconds=2.0),
        Result("natural", "imagenet-v2", {}, "mini:clip", "candidate", "pass", "", accuracy=1.0, seconds=0.0),
    ]
    file = tmp_path / "results.json"
    file.write_text(Results("mini", {}, [], rows).to_json())
    costs = read_costs(settings(costs=file))
    spec = parse("mini:clip")
    assert costs.of(spec, corruption("fog", 3)) == 40
    assert costs.of(spec, CLEAN) == 2
    # 42 seconds for 480 images of one pass and 480 of two; stored outcomes took none, which is no measurement
    assert costs.of(spec, natural("imagenet-v2")) == pytest.approx(480 * 42 / (480 + 2 * 480))


def test_costs_that_are_no_results_are_refused(tmp_path):
    (tmp_path / "costs.json").write_text("{}")
    with pytest.raises(InputError, match=r"--costs .*costs\.json: .*; give the results.json of an earlier run"):
        read_costs(settings(costs=tmp_path / "costs.json"))


def test_tests_are_known_by_their_ids_alone():
    cells = cells_in(TWO)
    ids = {f"robustness_tests/test_x.py::test_attack[{cell.id}]": cell for cell in cells}
    assert cells_of(TWO, [*ids, "tests/test_y.py::test_z", "a.py::b[c]"]) == ids


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=8), st.integers(1, 8))
def test_a_part_of_the_hypotheses_rejects_nothing_that_all_of_them_would_not(p_values, size):
    """So a shard may fail fewer cells than the merged run, and never one that the merged run does not fail."""
    whole = rejected(p_values, 0.025)
    part = rejected(p_values[:size], 0.025, len(p_values))
    assert all(in_whole or not in_part for in_part, in_whole in zip(part, whole, strict=False))
