"""The figures of a report, drawn from its cells alone: what there is no cell for, there is no figure of."""

from __future__ import annotations

from collections.abc import Callable

from clip_robustness.reports.figures.attacks import security, smallest, typographic
from clip_robustness.reports.figures.axes import MODELS, Models, Panels
from clip_robustness.reports.figures.corruptions import corruptions
from clip_robustness.reports.figures.differences import differences, regression
from clip_robustness.reports.figures.kept import Plot, remembered
from clip_robustness.reports.figures.natural import natural
from clip_robustness.reports.figures.sequences import flips, other_families
from clip_robustness.reports.svg import style
from clip_robustness.results.results import Results

_PANELS = 16


def plots(results: Results) -> list[Plot]:
    """All figures that the cells are enough for, drawn anew where they are not those of an earlier run."""
    return remembered(results, _drawn)


def _drawn(results: Results) -> list[Plot]:
    on_imagenet = any("effective_robustness" in cell.metrics for cell in results.cells)
    everyone = dict.fromkeys((cell.role, cell.model) for cell in results.cells if cell.accuracy is not None)
    if not everyone:
        return []
    by_role = {role: [key for key in everyone if key[0] == role][:MODELS] for role in ("candidate", "supervised")}
    models = Models(tuple(key for keys in by_role.values() for key in keys))
    left_out = len(everyone) - len(models.order)
    note = f" Drawn are the first {MODELS} of each role; the table has all models." if left_out else ""
    made = []
    with style():
        for key, title, caption, draw in _FIGURES:
            if panels := list(draw(results, models)):
                cut = f" {len(panels) - _PANELS} more are left out." if len(panels) > _PANELS else ""
                more = _TREND if key == "natural" and on_imagenet else ""
                made.append(Plot(key, title, caption + more + note + cut, tuple(p() for p in panels[:_PANELS])))
    return made


_TREND = (
    " The grey cloud are published models trained on ImageNet-1k alone, with their trend and its 95% band: above it is "
    "effective robustness."
)
_FIGURES: tuple[tuple[str, str, str, Callable[[Results, Models], Panels]], ...] = (
    (
        "differences",
        "Against the supervised baseline",
        "Accuracy of the candidate minus that of its baseline on the same images, with 95% intervals: filled circles "
        "pass the gate, open ones are inconclusive, crosses fail, diamonds are known weaknesses, triangles are known "
        "weaknesses that are gone, squares are not gated. The upright bar of a row is its limit.",
        differences,
    ),
    (
        "natural",
        "Natural shifts",
        "Accuracy under the shift against the clean accuracy on the same classes, logit axes, 95% intervals. Dashed: "
        "as accurate as on clean images.",
        natural,
    ),
    ("corruptions", "Corruptions", "Top-1 accuracy in percent; darker is worse.", corruptions),
    (
        "flips",
        "Stability along sequences",
        "How often the prediction changes between compared frames; bars are limits.",
        flips,
    ),
    (
        "security",
        "Security curves",
        "Accuracy under each attack against eps in pixel units, with 95% intervals; at 0 that on clean images. "
        "Level bars are limits: no lower.",
        security,
    ),
    (
        "smallest",
        "Smallest perturbations",
        "The share of images that are fooled by an eps of at most so much, in steps of 5%; images that are wrong when "
        "clean count as fooled at 0, drawn at the left edge. A bar at 50% is the limit of the "
        "median.",
        smallest,
    ),
    (
        "typographic",
        "Words written on images",
        "Whether the prediction is what is shown, the wrong word that is written, or something else; bars are limits.",
        typographic,
    ),
    ("overlap", "Data overlap and other families", "Accuracy with 95% intervals; bars are limits.", other_families),
    (
        "regression",
        "Against the recorded run",
        "Paired on the same images, with 95% intervals; triangles where the interval excludes 0. Bars are limits.",
        regression,
    ),
)
