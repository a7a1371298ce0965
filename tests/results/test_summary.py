"""Figures over the cells of a run: from rows to mCE, with intervals that hold."""

from dataclasses import replace

import pytest

from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.metrics.corruption import ALEXNET_CLEAN_ERROR, alexnet_errors
from clip_robustness.reports import table
from clip_robustness.results.result import Result
from clip_robustness.results.summary import of_imagenet_c, of_imagenet_p


def row(condition, accuracy, half_width=0.0, **params):
    interval = (accuracy - half_width, accuracy + half_width)
    family = "clean" if condition == "clean" else "synthetic"
    return Result(family, condition, params, "m", "candidate", "pass", "", accuracy=accuracy, ci95=interval)


def like_alexnet(offset=0.0, half_width=0.0):
    """The rows of a model whose errors are AlexNet's, less an offset, in an order that is not the severities'."""
    rows = [row("clean", 1 - ALEXNET_CLEAN_ERROR + offset, half_width)]
    for name, errors in alexnet_errors().items():
        for severity in (3, 1, 5, 2, 4):
            accuracy = 1 - errors[severity - 1] + offset
            rows.append(row("imagenet-c", accuracy, half_width, corruption=name, severity=severity))
    return rows


def figures(rows, on_imagenet=True):
    return {summary.name: summary for summary in of_imagenet_c(rows, on_imagenet=on_imagenet)}


def test_alexnet_has_an_mce_of_one():
    found = figures(like_alexnet())
    assert found["imagenet-c mCE"].value == pytest.approx(1)
    assert found["imagenet-c relative mCE"].value == pytest.approx(1)
    errors = [error for of_one in alexnet_errors().values() for error in of_one]
    assert found["imagenet-c mean top-1"].value == pytest.approx(1 - sum(errors) / 75)
    at_3 = [of_one[2] for of_one in alexnet_errors().values()]
    assert found["imagenet-c mean top-1 at severity 3"].value == pytest.approx(1 - sum(at_3) / 15)


def test_a_model_that_errs_less_has_a_lower_mce_and_the_same_losses():
    found = figures(like_alexnet(offset=0.1))
    assert found["imagenet-c mCE"].value < 0.9
    assert found["imagenet-c relative mCE"].value == pytest.approx(1)


def test_intervals_are_what_errors_at_either_end_would_give():
    found = figures(like_alexnet(half_width=0.02))
    assert found["imagenet-c mCE"].ci95 == (
        pytest.approx(figures(like_alexnet(offset=0.02))["imagenet-c mCE"].value),
        pytest.approx(figures(like_alexnet(offset=-0.02))["imagenet-c mCE"].value),
    )
    for summary in found.values():
        assert summary.ci95[0] < summary.value < summary.ci95[1]


def test_some_of_the_cells_give_no_figure():
    """It would look like one over all of them."""
    assert figures(like_alexnet()[:-1]) == {}


@pytest.mark.parametrize("wrong", [0, 7], ids=["the clean cell", "a cell"])
@pytest.mark.parametrize(("role", "verdict"), [("candidate", "error"), ("supervised", "baseline")])
def test_figures_over_cells_that_are_errors_are_missing_and_say_so(wrong, role, verdict):
    """Those of a baseline have no verdict, only the reason why they are no measurement."""
    rows = [replace(cell, role=role, verdict=role.replace("supervised", "baseline")) for cell in like_alexnet()]
    rows[wrong] = replace(rows[wrong], verdict=verdict, reason="the labels are wrong")
    (missing,) = of_imagenet_c(rows, on_imagenet=True)
    assert (missing.name, missing.value, missing.ci95) == ("imagenet-c mean top-1, mCE, relative mCE", None, None)
    why = f"missing: 1 of 76 cells is no measurement, the first is {rows[wrong].label}: the labels are wrong"
    assert missing.reason == why
    (line,) = table.summaries([missing])
    assert line == f"m ({role}): imagenet-c mean top-1, mCE, relative mCE {why}"


def test_alexnets_errors_mean_nothing_for_other_classes():
    assert not any("mCE" in name for name in figures(like_alexnet(), on_imagenet=False))


def sequence(flips, perturbation, model="m", role="candidate", half_width=0.0):
    ends = {"": 0.0, "_ci95_low": -half_width, "_ci95_high": half_width}
    metrics = {f"flip_probability{end}": flips + by for end, by in ends.items()}
    metrics |= {f"top5_distance{end}": 10 * (flips + by) for end, by in ends.items()}
    params = {"perturbation": perturbation, "difficulty": 1}
    return Result("synthetic", "imagenet-p", params, model, role, "pass", "", accuracy=0.5, metrics=metrics)


def sequences(flips, **cell):
    return [sequence(flips * (1 + i / 10), name, **cell) for i, name in enumerate(PERTURBATIONS)]


def of_sequences(rows, on_imagenet=True):
    found = of_imagenet_p(rows, on_imagenet=on_imagenet)
    return {(summary.model, summary.name): summary for summary in found}


def test_flips_of_a_run_with_alexnet_are_relative_to_it():
    alexnet = sequences(0.2, model="torchvision:alexnet@a.pth", role="supervised")
    found = of_sequences([*sequences(0.05, half_width=0.01), *alexnet])
    assert found["m", "imagenet-p 1 mFP"].value == pytest.approx(0.05 * 1.45)
    assert found["m", "imagenet-p 1 mFP"].ci95 == (pytest.approx(0.05 * 1.45 - 0.01), pytest.approx(0.05 * 1.45 + 0.01))
    assert found["m", "imagenet-p 1 mean T5D"].value == pytest.approx(0.5 * 1.45)
    assert found["m", "imagenet-p 1 mFR"].value == found["m", "imagenet-p 1 mT5D"].value == pytest.approx(0.25)
    assert ("torchvision:alexnet@a.pth", "imagenet-p 1 mFR") not in found


def test_an_alexnet_that_flips_nothing_gives_no_ratio_and_says_so():
    """As on a handful of images: the other figures stay."""
    alexnet = [sequence(0.0 if name == "tilt" else 0.2, name, model="torchvision:alexnet") for name in PERTURBATIONS]
    found = of_sequences([*sequences(0.05), *alexnet])
    assert found["m", "imagenet-p 1 mFP"].value == pytest.approx(0.05 * 1.45)
    missing = found["m", "imagenet-p 1 mFR"]
    assert (missing.value, missing.ci95) == (None, None)
    assert missing.reason == "missing: AlexNet's figure is 0 under tilt, and nothing is relative to that"


def test_without_alexnet_mfr_is_missing_and_says_so():
    found = of_sequences(sequences(0.05))
    assert found["m", "imagenet-p 1 mFR"].value is None
    (line,) = [line for line in table.summaries(list(found.values())) if " mFR " in line]
    assert line.endswith("--supervised torchvision:alexnet measures them in the same run")
    assert ("m", "imagenet-p 1 mFR") not in of_sequences(sequences(0.05), on_imagenet=False)


def test_flips_of_cells_that_are_errors_are_missing_and_relative_to_none():
    wrong = [replace(cell, verdict="error", reason="at chance") for cell in sequences(0.05)]
    alexnet = sequences(0.2, model="torchvision:alexnet@a.pth", role="supervised")
    found = of_imagenet_p([*wrong, *alexnet], on_imagenet=True)
    of_model = {summary.name: summary for summary in found if summary.model == "m"}
    assert {(name, summary.value) for name, summary in of_model.items()} == {("imagenet-p 1 mFP, mean T5D", None)}
    assert of_model["imagenet-p 1 mFP, mean T5D"].reason.startswith("missing: 10 of 10 cells are no measurements, ")
    alexnet[0] = replace(alexnet[0], verdict="baseline", reason="at chance")
    found = of_sequences([*sequences(0.05), *alexnet])
    assert found["m", "imagenet-p 1 mFP"].value == pytest.approx(0.05 * 1.45)
    assert found["m", "imagenet-p 1 mFR"].value is None


def test_nine_perturbations_give_no_figure():
    assert of_sequences(sequences(0.05)[1:]) == {}
