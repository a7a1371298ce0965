"""Figures over the cells of a run: from rows to mCE, with intervals that hold."""

import pytest

from metrics.corruption import ALEXNET_CLEAN_ERROR, alexnet_errors
from metrics.results import Cell
from metrics.summary import of_imagenet_c


def row(condition, accuracy, half_width=0.0, **params):
    interval = (accuracy - half_width, accuracy + half_width)
    family = "clean" if condition == "clean" else "synthetic"
    return Cell(family, condition, params, "m", "candidate", "pass", "", accuracy=accuracy, ci95=interval)


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


def test_alexnets_errors_mean_nothing_for_other_classes():
    assert set(figures(like_alexnet(), on_imagenet=False)) == {"imagenet-c mean top-1"}
