"""What a calibration found, in the terminal, as calibration.html and as calibration.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from clip_robustness import reports
from clip_robustness.calibration.compare import AGREES, DIFFERS
from clip_robustness.calibration.diagnosis import Finding, Tried
from clip_robustness.files import whole
from clip_robustness.reports.table import beside, interval, share
from clip_robustness.reports.templates import environment
from clip_robustness.results.results import Comparison, encodable

SCHEMA = 1
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class KnownModel:
    """A model, what the figures call it ('': nothing), how that is known, the fingerprint of its weights, and a warning
    where it is not what it claims to be."""

    model: str
    known: str
    known_by: str
    weights: str
    warning: str


@dataclass
class Calibration:
    """Models, their figures beside the published ones, what explains those that differ, and all that was tried."""

    suite: str
    samples: int | None
    models: list[KnownModel] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """In a sentence."""
        statuses = [comparison.status for comparison in self.comparisons]
        wrong, right = statuses.count(DIFFERS), statuses.count(AGREES)
        if wrong:
            return f"{wrong} of {len(statuses)} figures differ from the published ones"
        if right:
            return f"The set-up is right as far as {right} of {len(statuses)} published figures tell"
        if statuses:
            return "So few images can't tell whether the set-up is right"
        return "Nothing was compared: no known checkpoint with published figures on the data of the suite"


def lines(found: Calibration) -> Iterator[str]:
    """For the terminal."""
    for model in found.models:
        what = f"{model.known}, by {model.known_by}" if model.known else "no known checkpoint"
        yield f"{model.model}: {what}; its weights have the fingerprint {model.weights}"
        if model.warning:
            yield f"  warning: {model.warning}"
        for comparison in found.comparisons:
            if comparison.model == model.model:
                yield f"  {comparison.condition:24} {beside(comparison)}"
        for finding in found.findings:
            if finding.model == model.model:
                yield f"  {sentence(finding, found.tried)}"
    yield from (f"not run: {said}" for said in found.not_run)
    yield found.headline


def sentence(finding: Finding, tried: list[Tried]) -> str:
    """The diagnosis in words, with the figures."""
    where = ", ".join(finding.conditions)
    count = len({(each.cause, each.with_it) for each in tried})
    if not finding.cause:
        return f"cause of {where}: none of {count} changes lands on the published figure"
    own = [
        t
        for t in tried
        if (t.cause, t.with_it) == (finding.cause, finding.with_it) and t.condition in finding.conditions
    ]
    figures = "; ".join(
        f"{t.condition} {share(t.value)} {interval(t.ci95)}, published {share(t.published)}" for t in own
    )
    also = f"; so do {', '.join(finding.also)}" if finding.also else ""
    return f"cause: {finding.cause}: {finding.with_it} it is {figures}{also}"


def write(found: Calibration, folder: Path) -> list[Path]:
    """calibration.json and calibration.html; returns where they are."""
    page = (
        environment(_HERE)
        .get_template("calibration.html.j2")
        .render(
            found=found,
            style=(Path(reports.__file__).parent / "report.css").read_text(encoding="utf-8"),
            diagnoses=[sentence(finding, found.tried) for finding in found.findings],
        )
    )
    data = TypeAdapter(dict).dump_json({"schema": SCHEMA, **encodable(_PLAIN.dump_python(found))}, indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "calibration.json", folder / "calibration.html"]
    for file, text in zip(files, (data.decode(), page), strict=True):
        with whole(file) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return files


_PLAIN = TypeAdapter(Calibration)
