"""Summaries over ImageNet-C (Hendrycks & Dietterich 2019): mean top-1, its curve over severities, mCE, relative mCE.

Errors are shares, by corruption: arrays of shape (5,), or (5, n) for n images, severities first. All summaries are
linear in them, so that the figure of a set is the mean over its images, for which `intervals.mean` has an interval.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_robustness.errors import InputError

Errors = NDArray[np.float64]

ALEXNET_CLEAN_ERROR = 0.435
_SEVERITIES = 5
_FILE = Path(__file__).parent / "data" / "alexnet_imagenet_c_error.csv"


@cache
def alexnet_errors() -> Mapping[str, Errors]:
    """AlexNet's error on the fifteen corruptions, (5,) each; the file names the source."""
    with _FILE.open(encoding="utf-8") as lines:
        rows = csv.reader(line for line in lines if not line.startswith("#"))
        next(rows)
        return {name: np.array(values, np.float64) for name, *values in rows}


def mean_top1(errors: Mapping[str, Errors], over: Collection[str] = ()) -> Errors:
    """Mean accuracy over the cells of the fifteen corruptions, or of those of another set: a scalar array, or (n,)."""
    return _mean_over_corruptions(errors, lambda name, by_severity: 1 - by_severity.mean(axis=0), over)


def severity_curve(errors: Mapping[str, Errors]) -> Errors:
    """Mean accuracy over the fifteen corruptions at each severity, (5,) or (5, n)."""
    return _mean_over_corruptions(errors, lambda name, by_severity: 1 - by_severity)


def mce(errors: Mapping[str, Errors]) -> Errors:
    """Mean corruption error: the mean over corruptions of sum(error) / sum(AlexNet's error), over severities.

    1 is as good as AlexNet, less is better; often given in percent. Corruptions beyond the fifteen are not counted.
    Raises `InputError` where one of the fifteen or a severity is missing.
    """
    return _mean_over_corruptions(errors, lambda name, by_severity: by_severity.sum(axis=0) / _alexnet_sum(name))


def relative_mce(errors: Mapping[str, Errors], clean_error: Errors | float) -> Errors:
    """As `mce`, of what a corruption adds to the clean error: how much is lost, for model and AlexNet each."""

    def added(name: str, by_severity: Errors) -> Errors:
        lost = by_severity.sum(axis=0) - _SEVERITIES * np.asarray(clean_error)
        return lost / (_alexnet_sum(name) - _SEVERITIES * ALEXNET_CLEAN_ERROR)

    return _mean_over_corruptions(errors, added)


def _alexnet_sum(name: str) -> float:
    return float(alexnet_errors()[name].sum())


def complete(values: Mapping[str, Any], names: Collection[str], of: str) -> None:
    """Raises `InputError` where a value is missing: the mean of some would not be the published figure."""
    if missing := [name for name in names if name not in values]:
        raise InputError(f"a mean over {of} needs all {len(names)}; there is no {', '.join(missing)}")


def _mean_over_corruptions(
    errors: Mapping[str, Errors], score: Callable[[str, Errors], Errors], over: Collection[str] = ()
) -> Errors:
    names = over or alexnet_errors()
    complete(errors, names, "its corruptions" if over else "ImageNet-C")
    for name in names:
        if (count := len(errors[name])) != _SEVERITIES:
            raise InputError(f"a mean over ImageNet-C needs {_SEVERITIES} severities; {name} has {count}")
    return np.mean([score(name, np.asarray(errors[name])) for name in names], axis=0)
