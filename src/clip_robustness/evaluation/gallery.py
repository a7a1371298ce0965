"""The most telling failures of a cell: which, and their pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from clip_robustness.conditions.condition import reference
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.results.gallery import Example, keep
from clip_robustness.results.result import Regression

if TYPE_CHECKING:
    from torch import Tensor

    from clip_robustness.evaluation.computing import Picture

_SIDE = 128
_ENLARGED = 10


def pictures(session: Session, cell: Cell, count: int) -> str:
    """Keep pictures of at most `count` failures of a measured cell in the store; returns their key, '' for none."""
    if cell not in session.measured:
        return ""
    condition, candidate, start = cell.condition, cell.candidate, reference(cell.condition)
    ours, theirs, _ = session.measured[cell]
    clean = session.on_reference(candidate, condition) if start.data == condition.data and condition != start else None
    chosen = telling(ours, clean, theirs, count)
    if not chosen:
        return ""
    return _kept(session, cell, chosen)


def changes(session: Session, cell: Cell, found: Regression, count: int) -> str:
    """The same of at most `count` images that broke since the recorded run, and as many that were fixed, by
    `results.gallery.CHANGED`."""
    if cell not in session.measured or session.before is None or found.difference is None:
        return ""
    chosen = [id for ids in (found.broken, found.fixed) for id in sorted(ids, key=_hash)[:count]]
    if not chosen:
        return ""
    model = session.before.counterpart(cell.candidate.text)
    names, then = session.names(cell.condition), session.before.right[model or "", cell.condition.path]
    taken = then.mistakes
    mistakes = {id: names[taken[id]] if id in taken else "" for id in chosen if id in found.fixed}
    return _kept(session, cell, chosen, mistakes)


def _kept(session: Session, cell: Cell, chosen: Sequence[str], fixed: Mapping[str, str] | None = None) -> str:
    """The key of the pictures of these images. `fixed`, beside a recorded run, are those that are right now, with what
    they were taken for."""
    condition, candidate = cell.condition, cell.candidate
    _, theirs, images = session.measured[cell]
    model, baseline = session.asked(candidate, condition), session.reference_of(candidate) if theirs else None
    parts = (model.fingerprint, condition.path, images.name, images.reader, session.settings.seed, chosen, baseline)
    what = repr(parts if fixed is None else (*parts, fixed))
    key = f"{code_version()}-{hashlib.sha256(what.encode()).hexdigest()[:32]}"
    if not (session.settings.gallery_dir / f"{key}.json").exists():
        few = replace(images, samples=tuple(sample for sample in images.samples if sample.id in chosen), anchors=())
        made = session.evaluator.pictures(model, condition, few, session.surrogate(candidate, condition))
        kept = examples(made, session.names(condition), theirs, fixed or ())
        if fixed is not None:
            kept = (replace(e, recorded=fixed.get(e.image, e.label)) for e in kept)
        with suppress(OSError):  # no room for pictures is no reason to lose the figures
            keep(session.settings.gallery_dir, key, sorted(kept, key=lambda example: chosen.index(example.image)))
    return key


def telling(ours: Outcomes, clean: Outcomes | None, theirs: Outcomes | None, count: int) -> list[str]:
    """Ids of at most `count` failures, by `results.gallery.RULE`."""
    was_right, other_right = _right(clean), _right(theirs)

    def rank(id: str) -> tuple[bool, bool, str]:
        right = was_right.get(id, clean is None)
        return not (right and other_right.get(id, theirs is None)), not right, _hash(id)

    return sorted((id for id, right in _right(ours).items() if not right), key=rank)[:count]


def _hash(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()


def _right(outcomes: Outcomes | None) -> Mapping[str, bool]:
    return dict(zip(outcomes.ids, outcomes.correct.tolist(), strict=True)) if outcomes else {}


def examples(
    pictures: Iterable[Picture], names: Sequence[str], theirs: Outcomes | None, right: Collection[str] = ()
) -> Iterator[Example]:
    """As they stand in a report, failures but for the ids in `right`. What is judged otherwise when it is made again,
    by floating point, is left out."""
    predicted = dict(zip(theirs.ids, theirs.predictions.tolist(), strict=True)) if theirs else {}
    for p in pictures:
        if (p.prediction in p.sample.accepted) != (p.sample.id in right):
            continue
        name: Callable[[int | None], str] = lambda label: "" if label is None else names[label]  # noqa: E731
        yield Example(
            image=p.sample.id,
            label=" or ".join(map(name, p.sample.accepted)),
            before=name(p.clean_prediction),
            after=name(p.prediction),
            supervised=name(predicted.get(p.sample.id)),
            clean=_jpeg(p.clean, p.sample.border) if p.clean is not None else "",
            changed=_jpeg(p.changed, p.sample.border),
            difference="" if p.clean is None else _jpeg(0.5 + _ENLARGED * (p.changed - p.clean), nearest=True),
        )


def _jpeg(image: Tensor, border: int = 0, *, nearest: bool = False) -> str:
    """A data URI, at most 128 px. Who publishes images with a border that must be kept wherever they are shown gets
    it back, in red."""
    pixels = (255 * image.clamp(0, 1)).round().byte().movedim(0, -1).cpu().numpy()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > _SIDE:
        how = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
        picture = picture.resize((_SIDE, _SIDE), how)
    if border:
        picture = ImageOps.expand(picture, border, (255, 0, 0))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
