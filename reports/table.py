"""How all views call things and write figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clip_robustness.conditions.catalogue import kind_of
from clip_robustness.errors import number_of
from clip_robustness.results.headline import candidates
from clip_robustness.results.result import Result
from clip_robustness.results.results import Claim, Comparison, Guard, Results, Summary


def share(value: float | None, sign: str = "") -> str:
    """A share as percent with one decimal, the way all views print it."""
    return "-" if value is None else f"{100 * value:{sign}.1f}"


def number(value: float, sign: str = "") -> str:
    """What is no share, with two decimals."""
    return f"{value:{sign}.2f}"


def interval(ci95: tuple[float, float] | None, sign: str = "", unit: Callable[[float, str], str] = share) -> str:
    return "" if ci95 is None else f"[{unit(ci95[0], sign)}, {unit(ci95[1], sign)}]"


def columns(cell: Result) -> tuple[str, ...]:
    """A candidate's row in words: condition, model, n, accuracy, baseline, difference, verdict."""
    supervised = f"{share(cell.supervised.accuracy)} {interval(cell.supervised.ci95)}" if cell.supervised else "-"
    difference = (
        f"{share(cell.difference.value, '+')} {interval(cell.difference.ci95, '+')}" if cell.difference else "-"
    )
    accuracy = f"{share(cell.accuracy)} {interval(cell.ci95)}"
    return (cell.label, cell.model, str(cell.n), accuracy, supervised, difference, cell.verdict, others(cell))


HEADINGS = ("condition", "model", "n", "accuracy, 95% interval", "supervised", "difference", "verdict", "also")
_OTHERS: dict[str, tuple[str, str, Callable[[float, str], str]]] = {
    "pm0": ("pm-0", "", share),
    "overlap_rate": ("overlap", "", share),
    "accuracy_all": ("on all", "", share),
    "accuracy_overlapping": ("on the overlap", "", share),
    "removed": ("all - clean", "+", share),
    "familiarity": ("ahead of the baseline on the overlap", "+", share),
    "gap": ("gap", "+", share),
    "template_spread": ("spread over wordings", "", share),
    "auroc": ("AUROC", "", share),
    "calibration_error": ("ECE", "", share),
    "worst_factor": ("worst group", "", share),
    "worst_classes": ("worst classes", "", share),
    "effective_robustness_all": ("effective robustness on all", "+", share),
    "effective_robustness": ("effective robustness", "+", share),
    "among_single_models": ("among single models", "+", share),
    "flip_probability": ("flips", "", share),
    "top5_distance": ("T5D", "", number),
    "shape_bias": ("shape bias", "", share),
    "mce": ("mCE", "", share),
    "median_eps": ("median eps x 255", "", number),
    "accuracy_among_all": ("among all names", "", share),
    "reads_the_word": ("reads the word", "", share),
    "fits_the_caption": ("fits the caption", "", share),
    "fits_the_caption_when_clean": ("when clean", "", share),
    "queries": ("queries", "", number),
}
"""Metrics that the tables show: what they are called there, their sign, and how they are written."""


_LEFT_OUT = (
    "confidence", "passes", "zero_gradients", "fooled_by_square_alone", "randomised", "probabilities", "optimises",
    "trend_r2", "trend_spread",
)  # fmt: skip
"""Of the guards' concern, or the same in all cells."""


def others(cell: Result) -> str:
    """What else was measured, each with its interval; what a later version measures by the name that it gives it."""
    ends = ("_ci95_low", "_ci95_high")
    named = [key for key in cell.metrics if not key.endswith(ends) and key not in _LEFT_OUT]
    found = []
    for key in sorted(named, key=lambda key: list(_OTHERS).index(key) if key in _OTHERS else len(_OTHERS)):
        label, sign, unit = _OTHERS.get(key, (key.replace("_", " "), "", number))
        low, high = (cell.metrics.get(f"{key}{end}") for end in ends)
        ci95 = None if low is None or high is None else (low, high)
        found.append(f"{label} {unit(cell.metrics[key], sign)} {interval(ci95, sign, unit)}".rstrip())
    if cell.n_clusters and cell.n_effective is not None:
        found.append(f"of {cell.n_clusters} clusters, as {cell.n_effective:.0f} independent images")
    if cell.n_skipped:
        found.append(f"settled early, {number_of(cell.n_skipped, 'image')} spared")
    return "; ".join(found)


def spared(cells: Sequence[Result]) -> list[str]:
    """What stopping early was good for, in a line."""
    early = [cell for cell in cells if cell.n_skipped and cell.role == "candidate"]
    if not early:
        return []
    shown = candidates(cells)
    means = {name for name in {c.condition for c in shown} if kind_of("synthetic", name).averages}
    images = sum(c.n_skipped for c in early)
    planned = sum(c.n + c.n_skipped for c in shown if c.condition not in means)
    return [
        f"{len(early)} of {number_of(len(shown), 'cell was', 'cells were')} settled early: "
        f"{images} of {planned} images were spared; their 95% intervals are those of as many images looked at once"
    ]


def summaries(found: Sequence[Summary]) -> list[str]:
    """Figures over many cells, a line each."""
    lines = []
    for s in found:
        unit = share if s.share else number
        figure = s.reason if s.value is None else f"{unit(s.value)} {interval(s.ci95, unit=unit)}"
        lines.append(f"{s.model} ({s.role}): {s.name} {figure}")
    return lines


def regressions(cells: Sequence[Result]) -> list[str]:
    """Each cell against the recorded run: before, after, the paired difference, what was fixed and broken."""
    lines = []
    for cell in candidates(cells):
        r = cell.regression
        if r is None:
            continue
        if r.difference is None:
            lines.append(f"{cell.label}, {cell.model}: not compared: {r.reason}")
            continue
        broken = f" (first: {', '.join(r.broken[:3])})" if r.broken else ""
        lines.append(
            f"{cell.label}, {cell.model}: before {share(r.before)}, now {share(cell.accuracy)}, difference "
            f"{share(r.difference.value, '+')} {interval(r.difference.ci95, '+')} on {r.n} images of run '{r.run}'; "
            f"{len(r.fixed)} fixed, {len(r.broken)} broken{broken}" + (f"; {r.reason}" if r.reason else "")
        )
    return lines


def beside(c: Comparison) -> str:
    """A figure with the published one: what they are, and whether they agree."""
    reason = f" ({c.reason})" if c.reason else ""
    here = f"here {share(c.value)} {interval(c.ci95)} of {c.n}"
    return f"published {share(c.published)}, {here}: {c.status}{reason}"


def known(found: Sequence[Comparison]) -> list[str]:
    """A line a known checkpoint: its first figure, and how many of all agree."""
    lines = []
    for model in dict.fromkeys(c.model for c in found):
        own = [c for c in found if c.model == model]
        agree = sum(c.status == "agrees" for c in own)
        more = f"; {agree} of {len(own)} figures agree" if len(own) > 1 else ""
        called = "" if own[0].known == model else f" is {own[0].known}"
        lines.append(f"{model}{called}, {own[0].condition}: {beside(own[0])}{more}")
    return lines


def claims(found: Sequence[Claim]) -> list[str]:
    """A line a claim and candidate."""
    several = len({claim.model for claim in found}) > 1
    return [f"claim {c.name}{f', {c.model}' if several else ''}: {c.status} ({c.detail}): {c.says}" for c in found]


def guards(found: Sequence[Guard]) -> list[str]:
    """How many checks of the attacks hold, and each that is broken."""
    if not found:
        return []
    broken = [f"guard broken: {g.model}: {g.name} ({g.detail})" for g in found if not g.passed]
    return [f"guards of the attacks: {len(found) - len(broken)} of {len(found)} hold", *broken]


_FOLDERS = re.compile(r"(?<=@)[^@?]*/(?=[^@?/])")


def displayed(results: Results) -> Results:
    """The same with models called by the file names of their weights, without folders, where these tell them apart."""
    names = dict.fromkeys([str(m["model"]) for m in results.models] + [cell.model for cell in results.cells])
    short = {name: _FOLDERS.sub("", name) for name in names}
    taken = Counter(short.values())
    of = {name: brief if taken[brief] == 1 else name for name, brief in short.items()}

    def cell(found: Result) -> Result:
        theirs = found.supervised
        called = theirs and replace(theirs, model=of.get(theirs.model, theirs.model))
        return replace(found, model=of[found.model], supervised=called)

    return replace(
        results,
        models=[{"spec": m["model"]} | m | {"model": of[str(m["model"])]} for m in results.models],
        cells=[cell(found) for found in results.cells],
        summaries=[replace(s, model=of.get(s.model, s.model)) for s in results.summaries],
        guards=[replace(g, model=of.get(g.model, g.model)) for g in results.guards],
    )


ABOUT = {
    "precision": "{}",
    "image_size": "{} px",
    "interpolation": "{}",
    "crop": "{}",
    "mean": "mean {}",
    "std": "std {}",
    "prompts": "prompts {}",
}
"""What is said of a model, in this order."""


def described(model: Mapping[str, Any]) -> str:
    """One of `Results.models`: what it computes in, and what is done to images and texts before."""
    said = {key: value for key, value in model.items() if key in ABOUT and value}
    parts = [ABOUT[key].format(_numbers(said[key])) for key in ABOUT if key in said]
    spec = "" if (written := model.get("spec", model["model"])) == model["model"] else f" = {written}"
    return f"{model['model']}{spec}: {', '.join(parts)}"


def _numbers(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return " ".join(f"{number:.4g}" if isinstance(number, float) else str(number) for number in value)


def model_warnings(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """What to know of the models before trusting their figures, each sentence with the model's name."""
    told = [(str(model["model"]), str(warning)) for model in models for warning in model.get("warnings", ())]
    return list(dict.fromkeys(text if text.startswith(name) else f"{name}: {text}" for name, text in told))


def warnings(cells: Sequence[Result]) -> list[str]:
    """What is to be known of single cells, each sentence once; of the whole run `Results.warnings` tells."""
    return list(dict.fromkeys(warning for cell in cells for warning in cell.warnings))
