"""What a run says of models that are known checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_robustness.calibration.compare import DIFFERS, compared
from clip_robustness.calibration.figures import known_figures
from clip_robustness.calibration.known import recognise
from clip_robustness.evaluation.settings import Settings
from clip_robustness.results.result import Result
from clip_robustness.results.results import Comparison
from clip_robustness.suites import Suite
from clip_robustness.suites.figures import Figures, on_of


def figures_of(suite: Suite) -> Figures:
    """The package's, and those that the suite names. Raises `InputError` as `figures.read` does."""
    return known_figures(suite.figures, tuple(suite.settings.data))


def with_names(described: Sequence[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """What results say of the models, candidates first, with the known checkpoint that each is, and a warning where one
    is none although it claims to be. Raises `InputError` for figures that can't be read."""
    figures, named = figures_of(settings.suite), []
    for model, spec in zip(described, (*settings.candidates, *settings.supervised), strict=True):
        found = recognise(spec, model["weights"], figures)
        said = [*model["warnings"], *([found.warning] if found.warning else [])]
        named.append(model | {"known": found.model, "known_by": found.how, "warnings": said})
    return named


def comparisons(settings: Settings, models: Sequence[Mapping[str, Any]], cells: Sequence[Result]) -> list[Comparison]:
    """The figures of the known checkpoints among `models` beside the published ones."""
    known = {str(model["model"]): str(model["known"]) for model in models if model.get("known")}
    return compared(figures_of(settings.suite), known, cells, on_of(settings.suite)) if known else []


def warnings(found: Sequence[Comparison]) -> list[str]:
    """A sentence for each model of which a figure differs."""
    said = []
    for model in dict.fromkeys(c.model for c in found):
        own = [c for c in found if c.model == model]
        if wrong := [c for c in own if c.status == DIFFERS]:
            first = wrong[0]
            figures = f"published {100 * first.published:.1f}, here {100 * first.value:.1f}"
            said.append(
                f"{model} is {first.known}, but {len(wrong)} of {len(own)} figures differ from the published ones "
                f"({first.condition}: {figures}): clip-robustness calibrate looks for the cause"
            )
    return said
