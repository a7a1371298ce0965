"""A cell against the same cell of a recorded run, paired by image."""

from __future__ import annotations

from dataclasses import dataclass

from clip_robustness.datasets.dataset import Dataset
from clip_robustness.evaluation.session import Session, sizes
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.clusters import Clusters
from clip_robustness.metrics.intervals import Correct, Estimate, paired_difference
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.results.result import Figure, Regression


@dataclass(frozen=True)
class Pairs:
    """Ids of the images that both runs had, and what is right now and was right then."""

    ids: list[str]
    now: Correct
    then: Correct
    clusters: Clusters | None = None

    @property
    def difference(self) -> Estimate:
        return paired_difference(self.now, self.then, self.clusters)


def compared(session: Session, cell: Cell, ours: Outcomes, images: Dataset) -> Pairs | str:
    """What both runs had, or why they can't be compared."""
    assert session.before is not None
    run, suite = session.before, session.settings.suite
    model = run.counterpart(cell.candidate.text)
    now = {"seed": session.settings.seed, "classes": suite.settings.classes}
    for what, value in now.items():
        if run.results.environment.get(what) != value:
            was = run.results.environment.get(what)
            return f"run '{run.name}' has {what} {was}, this one {value}; record that checkpoint anew to compare"
    if model is None:
        return f"run '{run.name}' has several candidates and none of them is {cell.candidate.text}"
    if (model, cell.condition.path) not in run.right:
        return f"run '{run.name}' has no {cell.condition.path}"
    then = run.right[model, cell.condition.path]
    code = session.code(cell)
    other = {
        part for part, is_now in code.items() if then.code.get(part, "" if part == "condition" else is_now) != is_now
    }
    if other == {"data"}:
        return (
            f"in run '{run.name}' data set '{images.name}' was read by another reader, or in other classes; record "
            "that checkpoint anew to compare"
        )
    if other:
        return (
            f"in run '{run.name}' {cell.condition.path} was computed by another version of the code, or of a library; "
            "record that checkpoint anew to compare"
        )
    if then.made_with != session.made_with(cell):
        return f"in run '{run.name}' {cell.condition.path} was made with another surrogate, or other textures"
    same, before = then.of(ours.ids, sizes(ours, images))
    if not same.any():
        return f"run '{run.name}' has none of these images"
    clusters = ours.clusters[same] if ours.clusters else None
    ids = [id for id, kept in zip(ours.ids, same, strict=True) if kept]
    return Pairs(ids, ours.correct[same], before, clusters)


def regression(session: Session, ours: Outcomes, found: Pairs | str) -> Regression:
    """What a report says of it."""
    assert session.before is not None
    earlier = ", ".join(dict.fromkeys(model for model, _ in session.before.right))
    if isinstance(found, str):
        return Regression(session.before.name, earlier, found)
    estimate = found.difference
    left_out = len(ours.ids) - len(found.ids)
    pairs = list(zip(found.ids, found.now, found.then, strict=True))
    return Regression(
        run=session.before.name,
        model=earlier,
        reason=f"{left_out} of {len(ours.ids)} images are not the same in the recorded run" if left_out else "",
        n=len(found.ids),
        before=float(found.then.mean()),
        difference=Figure(estimate.value, (estimate.low, estimate.high)),
        fixed=tuple(id for id, new, old in pairs if new and not old),
        broken=tuple(id for id, new, old in pairs if old and not new),
    )
