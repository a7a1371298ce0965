"""Figures of a model over many cells."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from clip_robustness.errors import InputError, number_of
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.metrics.corruption import Errors, mce, mean_top1, relative_mce, severity_curve
from clip_robustness.metrics.flips import mean_over_perturbations, relative_to_alexnet
from clip_robustness.results.result import Result
from clip_robustness.results.results import Summary

_ENDS = ("", "_ci95_low", "_ci95_high")
_NO_ALEXNET = (
    "missing: AlexNet's published figures could not be checked at a source; "
    "--supervised torchvision:alexnet measures them in the same run"
)


def of_cells(cells: Iterable[Result], *, on_imagenet: bool) -> list[Summary]:
    """All that a run's cells are enough for."""
    return [of for figures in (of_imagenet_c, of_imagenet_p) for of in figures(list(cells), on_imagenet=on_imagenet)]


def of_imagenet_c(cells: Iterable[Result], *, on_imagenet: bool) -> list[Summary]:
    """Mean top-1, and over ImageNet's classes mCE and relative mCE, of each model that ran all 15 corruptions at all
    severities, made on the fly or from disk.

    The intervals come from the ends of the cells' own: wide, but right however the cells, which share their images,
    depend on each other.
    """
    by_model: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for cell in cells:
        if cell.accuracy is not None:
            by_model[cell.model, cell.role].append(cell)
    found = []
    for (model, role), own in by_model.items():
        for condition in ("imagenet-c", "imagenet-c-disk"):
            try:
                figures = _figures(condition, own, on_imagenet)
            except InputError:  # some cells did not run: a mean of the others would look like one of all
                continue
            if why := _no_measurement([cell for cell in own if cell.condition in (condition, "clean")]):
                names = ", ".join(name for name, _ in figures if "severity" not in name)
                found.append(Summary(model, role, f"{condition} {names}", None, None, reason=why))
                continue
            found += [Summary(model, role, f"{condition} {name}", v, (low, high)) for name, (v, low, high) in figures]
    return found


def of_imagenet_p(cells: Iterable[Result], *, on_imagenet: bool) -> list[Summary]:
    """mFP and mean T5D of each model that ran all ten perturbations, and over ImageNet's classes mFR and mT5D, where
    AlexNet ran, too. The intervals come from the ends of the cells' own."""
    by_model: dict[tuple[str, str, str, str | int], dict[str, Result]] = defaultdict(dict)
    for cell in cells:
        if "flip_probability" in cell.metrics:
            key = (cell.model, cell.role, cell.condition, cell.params["difficulty"])
            by_model[key][str(cell.params["perturbation"])] = cell
    complete, found = dict[tuple[str, str, str, str | int], dict[str, dict[str, float]]](), list[Summary]()
    for key, cells_of in by_model.items():
        model, role, condition, difficulty = key
        if set(cells_of) != set(PERTURBATIONS):
            continue
        if why := _no_measurement(list(cells_of.values())):
            found.append(Summary(model, role, f"{condition} {difficulty} mFP, mean T5D", None, None, reason=why))
        else:
            complete[key] = {perturbation: cell.metrics for perturbation, cell in cells_of.items()}
    for (model, role, condition, difficulty), own in complete.items():
        same = (m for key, m in complete.items() if key[2:] == (condition, difficulty) and _alexnet(key[0]))
        alexnet = next(same, None)
        for metric, name, relative, share in (
            ("flip_probability", "mFP", "mFR", True),
            ("top5_distance", "mean T5D", "mT5D", False),
        ):
            of = f"{condition} {difficulty} "
            value, low, high = ({p: metrics[metric + end] for p, metrics in own.items()} for end in _ENDS)
            mean = mean_over_perturbations
            found.append(Summary(model, role, of + name, mean(value), (mean(low), mean(high)), share))
            if alexnet is not None and not _alexnet(model):
                theirs = {p: metrics[metric] for p, metrics in alexnet.items()}
                try:
                    figure, least, most = (relative_to_alexnet(values, theirs) for values in (value, low, high))
                except InputError as error:  # on few images AlexNet may flip nothing
                    found.append(Summary(model, role, of + relative, None, None, reason=f"missing: {error}"))
                else:
                    found.append(Summary(model, role, of + relative, figure, (least, most)))
            elif alexnet is None and on_imagenet:
                found.append(Summary(model, role, of + relative, None, None, reason=_NO_ALEXNET))
    return found


def _no_measurement(cells: list[Result]) -> str:
    """Why there is no figure over these cells: some are errors. Those of a baseline have no verdict, but a reason."""
    wrong = [cell for cell in cells if cell.verdict == "error" or (cell.verdict == "baseline" and cell.reason)]
    if not wrong:
        return ""
    are = "is no measurement" if len(wrong) == 1 else "are no measurements"
    of = number_of(len(cells), "cell")
    return f"missing: {len(wrong)} of {of} {are}, the first is {wrong[0].label}: {wrong[0].reason}"


def _alexnet(model: str) -> bool:
    return re.fullmatch(r"\w+:alexnet([/@?].*)?", model) is not None


def _figures(condition: str, cells: list[Result], on_imagenet: bool) -> list[tuple[str, tuple[float, float, float]]]:
    """Name; value, low, high."""
    value, least, most = (_errors(condition, cells, end) for end in range(3))
    figures = {"mean top-1": [mean_top1(errors) for errors in (value, most, least)]}
    curves = [severity_curve(errors) for errors in (value, most, least)]
    figures |= {f"mean top-1 at severity {i + 1}": [curve[i] for curve in curves] for i in range(len(curves[0]))}
    clean = next((_error(cell) for cell in cells if cell.condition == "clean"), None)
    if on_imagenet:
        figures["mCE"] = [mce(errors) for errors in (value, least, most)]
        if clean:
            pairs = zip((value, least, most), (clean[0], clean[2], clean[1]), strict=True)
            figures["relative mCE"] = [relative_mce(errors, of_clean) for errors, of_clean in pairs]
    return [(name, (float(v), float(low), float(high))) for name, (v, low, high) in figures.items()]


def _errors(condition: str, cells: list[Result], end: int) -> dict[str, Errors]:
    """Corruption -> errors by severity: the values (`end` 0), the low (1) or the high (2) ends of their intervals."""
    found: dict[str, list[float]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.params.get("severity", 0)):
        if cell.condition == condition:
            found[str(cell.params["corruption"])].append(_error(cell)[end])
    return {name: np.array(errors) for name, errors in found.items()}


def _error(cell: Result) -> tuple[float, float, float]:
    assert cell.accuracy is not None
    assert cell.ci95 is not None
    return 1 - cell.accuracy, 1 - cell.ci95[1], 1 - cell.ci95[0]
