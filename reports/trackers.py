"""`--log wandb|mlflow|tensorboard`: figures, intervals and verdicts of a run, and its reports as an artifact, where a
team's experiments are tracked. The trackers' own settings hold: WANDB_MODE, MLFLOW_TRACKING_URI and their like."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TypeVar

from clip_robustness.errors import InputError, nearest
from clip_robustness.results.headline import candidates, headline
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

T = TypeVar("T")

_TAGS, _METRICS = 100, 1000
"""Of a request to MLflow at most."""
PROJECT = "clip-robustness"
"""Where the tracker's own settings name none."""


def check(name: str) -> None:
    """Raises `InputError` for a tracker that is unknown, or not installed, before anything is measured."""
    if name not in TRACKERS:
        raise InputError(f"--log {name}: no such tracker; {nearest(name, TRACKERS)}")
    if find_spec(name) is None:
        raise InputError(f"--log {name}: {name} is not installed; pip install 'clip-robustness-suite[{name}]'")


def log(name: str, results: Results, folder: Path) -> str:
    """Log a run with the files in `folder`; returns where. Raises whatever the tracker does."""
    return TRACKERS[name](results, folder)


def figures(results: Results) -> dict[str, float]:
    """`model/family/condition/figure` -> value: shares, of accuracies and differences, with the ends of intervals."""
    return dict(_figures(results))


def _figures(results: Results) -> Iterator[tuple[str, float]]:
    for cell in results.cells:
        if cell.accuracy is None or cell.ci95 is None:
            continue
        name = _named(cell)
        named = {"accuracy": (cell.accuracy, *cell.ci95)}
        if cell.difference:
            named["difference"] = (cell.difference.value, *cell.difference.ci95)
        if cell.regression and cell.regression.difference:
            named["regression"] = (cell.regression.difference.value, *cell.regression.difference.ci95)
        for what, found in named.items():
            yield from zip((f"{name}/{what}", f"{name}/{what}_low", f"{name}/{what}_high"), found, strict=True)
        yield f"{name}/n", float(cell.n)


def _named(cell: Result) -> str:
    """In characters that every tracker takes."""
    return "/".join(re.sub(r"[^\w.-]+", "-", part) for part in (cell.model, cell.family, cell.label))


def _about(results: Results) -> dict[str, str]:
    head = headline(results)
    models = {str(m["role"]): str(m.get("spec", m["model"])) for m in results.models}
    return {"suite": results.suite, "gate": head.state, "gate_sentence": head.text, **models}


def _called(results: Results) -> str:
    return f"{results.suite} {results.environment.get('started', '')}".strip()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _batched(named: Mapping[str, T], size: int) -> Iterator[dict[str, T]]:
    """In parts of at most `size`."""
    items = iter(named.items())
    while part := dict(islice(items, size)):
        yield part


def _wandb(results: Results, folder: Path) -> str:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    quiet = wandb.Settings(silent=True, console="off")
    with wandb.init(
        project=project, name=_called(results), config=_about(results), dir=str(folder.parent), settings=quiet
    ) as run:
        run.summary.update(figures(results))
        columns: list[str | int] = ["condition", "model", "verdict", "accuracy", "reason"]
        rows = [[c.label, c.model, c.verdict, c.accuracy, c.reason] for c in candidates(results.cells)]
        run.log({"cells": wandb.Table(columns=columns, data=rows)})
        artifact = wandb.Artifact("robustness-report", type="report", metadata=_about(results))
        for file in _files(folder):
            artifact.add_file(str(file))
        run.log_artifact(artifact)
        return str(run.dir if run.offline else run.url)


def _mlflow(results: Results, folder: Path) -> str:
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    with mlflow.start_run(run_name=_called(results)) as run:
        verdicts = {f"{_named(cell)}/verdict": cell.verdict for cell in candidates(results.cells)}
        for tags in _batched({**_about(results), **verdicts}, _TAGS):
            mlflow.set_tags(tags)
        for metrics in _batched(figures(results), _METRICS):
            mlflow.log_metrics(metrics)
        for file in _files(folder):
            mlflow.log_artifact(str(file), "report")
        return f"{mlflow.get_tracking_uri()}, run {run.info.run_id}"


def _tensorboard(results: Results, folder: Path) -> str:
    from torch.utils.tensorboard import SummaryWriter

    place = folder.parent / "tensorboard" / re.sub(r"[^\w.-]+", "-", _called(results))
    with SummaryWriter(str(place)) as writer:
        for name, value in figures(results).items():
            writer.add_scalar(name, value, 0)
        writer.add_text("verdict", headline(results).text, 0)
        if (summary := folder / "summary.md").is_file():  # TensorBoard keeps no files: this is the report as text
            writer.add_text("report", summary.read_text(encoding="utf-8"), 0)
    return str(place)


TRACKERS: dict[str, Callable[[Results, Path], str]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
}
