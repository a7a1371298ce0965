"""`--dry-run`: what a run would compute, and how long that takes, from a calibration of some seconds."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from clip_robustness import timing
from clip_robustness.cache import CacheError, cache_folder
from clip_robustness.conditions.condition import FROST, Condition
from clip_robustness.conditions.corruptions.frost import read_textures
from clip_robustness.conditions.kept import Kept, memory_limit
from clip_robustness.datasets.dataset import Dataset, Sample
from clip_robustness.errors import NotRunError, number_of
from clip_robustness.evaluation.costs import plain_and_traced, read_costs
from clip_robustness.evaluation.needs import needs
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.mini.outline import Outlines
from clip_robustness.mini.overlap import PRETRAINING
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.memory import bounded
from clip_robustness.models.spec import ModelSpec
from clip_robustness.suites.forecast import Asked, declared, forecast

_LONG_ENOUGH = 0.3
"""Seconds that a speed is measured for."""
_DRAWN = 3
"""Images a thread that are prepared to time it."""
_GB = 2**30


@dataclass(frozen=True)
class Line:
    """A condition under all of its models: images over all of them, and seconds of what is not stored."""

    condition: Condition
    models: int
    images: int
    stored: int
    passes: float
    seconds: float


def planned(settings: Settings, cells: Sequence[Cell], workers: int) -> Iterator[str]:
    """The plan, a line a condition and then its sum. Raises `InputError` for what would stop the run."""
    with TemporaryDirectory(prefix="clip-robustness-") as folder:
        outlines = Outlines(Path(folder))
        yield from _planned(Session(settings, place=outlines.folder), outlines, cells, workers)


def _planned(session: Session, outlines: Outlines, cells: Sequence[Cell], workers: int) -> Iterator[str]:
    settings = session.settings
    speeds: dict[str, Speed] = {}
    lines: list[Line] = []
    wanted = needs(settings, cells)
    computed = {condition.computation: condition for condition in wanted}
    selected = dict.fromkeys(cell.condition for cell in cells)
    yield f"{'condition':46} models  images  stored      passes       about"
    for condition in dict.fromkeys([*selected, *wanted]):
        if condition not in wanted:
            other = computed.get(condition.computation)
            how = f"computed with {other.path}" if other else f"the mean of the cells of {condition.kind.averages}"
            yield f"{condition.path:46} {'read from its members, seeds or conditions' if condition.members else how}"
            continue
        try:
            line = _line(session, outlines, wanted[condition], condition, speeds)
        except NotRunError as error:
            yield f"{condition.path:46} not run: {error}"
            continue
        lines.append(line)
        yield (
            f"{condition.path:46} {line.models:6} {line.images:7} {line.stored:7} {line.passes:11.0f} "
            f"{duration(line.seconds):>11}" + ("" if condition in selected else "  to compare with")
        )
    devices = max(1, min(workers, torch.cuda.device_count())) if session.device.type == "cuda" else 1
    first = {place: outline.estimate() for place, outline in outlines.of.items()}
    seconds = sum(line.seconds for line in lines) / devices + sum(first.values())
    yield ""
    yield (
        f"{number_of(len(cells), 'cell')} of candidates, "
        f"outcomes of {sum(line.models for line in lines)} (model, condition): "
        f"{sum(line.images for line in lines)} images, {sum(line.stored for line in lines)} of them stored, "
        f"{sum(line.passes for line in lines):.0f} forward passes; about {duration(seconds)} on {devices} x "
        f"{session.device}"
    )
    for place, outline in outlines.of.items():
        yield f"{place}: {outline.count} files are drawn on first use, about {duration(first[place])} of these"
    if settings.suite.overlap == PRETRAINING and any(cell.condition.kind.is_repeated for cell in cells):
        yield f"{PRETRAINING}: on first use it is drawn and searched for near-duplicates, which the plan leaves out"
    for model, speed in speeds.items():
        plain, traced = (f"{1 / each:.0f}" for each in (speed.plain, speed.traced))
        yield f"{model}: {plain} images/s in batches of {speed.batch}, {traced} with gradients"
    if any(speed.hindered for speed in speeds.values()):
        yield "other processes keep this machine busy: the time is what a run takes without them"
    yield _memory(session.device, workers)
    yield "forward passes and time are estimates; attacks take half to twice as long, as images fall early or late"
    asked = [
        Asked(limit, _images(session, cell.condition), declared(settings.suite, cell.condition))
        for cell in dict.fromkeys(cells)
        for limit in settings.limits(cell.condition)
    ]
    yield from ("", *said) if (said := [*forecast(asked, settings.suite.gate)]) else ()
    with suppress(CacheError):
        yield ""
        yield f"kept in {cache_folder()}: what code, machine and models are, zero-shot heads, unpacked shards"


def _images(session: Session, condition: Condition) -> Dataset | None:
    """None where the condition is not run."""
    with suppress(NotRunError):
        return session.images(condition)
    return None


def _line(
    session: Session, outlines: Outlines, specs: Sequence[ModelSpec], condition: Condition, speeds: dict[str, Speed]
) -> Line:
    """Raises `NotRunError` for a condition without data."""
    settings = session.settings
    images = session.images(condition)
    measured = read_costs(settings).measured
    plain, traced = plain_and_traced(condition)
    computed = most = 0
    seconds, known = 0.0, settings.store_dir.exists()
    for spec in specs:
        question = session.question(spec, condition)
        missing = len(session.evaluator.missing(*question) if known else images.samples)
        computed += missing
        if whole := measured.get((condition.path, spec.text)):
            seconds += missing * whole / len(images)
        elif missing:
            if spec.text not in speeds:
                speeds[spec.text] = measured_speed(session.classifier(spec), settings.batch_size)
            speed = speeds[spec.text]
            seconds += missing * (plain * speed.plain + traced * speed.traced)
            most = max(most, missing)
    drawing = most * _drawing(session, outlines, question[0].loaded, condition, images) if most else 0.0
    # a GPU works while the next images are prepared; a CPU has to do both
    seconds = seconds + drawing if session.device.type == "cpu" else max(seconds, drawing)
    total = len(images) * len(specs)
    return Line(condition, len(specs), total, total - computed, computed * (plain + traced), seconds)


@dataclass(frozen=True)
class Speed:
    """Seconds an image, of a forward pass and of one with the gradient of the image, and images at a time; `hindered`
    where other processes were in the way, for which the seconds make allowance."""

    plain: float
    traced: float
    batch: int
    hindered: bool = False


def measured_speed(classifier: Classifier, batch_size: int) -> Speed:
    side, size = classifier.image_size, bounded(classifier, batch_size, gradients=True, sharing=1).fits
    batch = torch.rand(size, 3, side, side, device=classifier.mean.device)

    def plain(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return classifier(images)

    def traced(images: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        return torch.autograd.grad(classifier(images).sum(), images)[0]

    (each, busy), (each_traced, busy_traced) = _seconds(plain, batch), _seconds(traced, batch)
    return Speed(each, each_traced, size, busy or busy_traced)


def _seconds(run: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[float, bool]:
    """An image, after a first call, until the device has done it; and whether others were in the way."""
    run(batch).sum().item()
    together = timing.fastest(lambda: run(batch).sum().item(), _LONG_ENOUGH)
    threads = torch.get_num_threads()
    if batch.device.type != "cpu" or not together.hindered:
        return together.seconds / len(batch), False
    few = batch[: -(-len(batch) // threads)]
    with _one_thread():
        alone = timing.fastest(lambda: run(few), _LONG_ENOUGH).alone * len(batch) / len(few)
    return timing.unhindered(together, alone, threads) / len(batch), True


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _drawing(
    session: Session, outlines: Outlines, classifier: Classifier, condition: Condition, images: Dataset
) -> float:
    """Seconds an image to read it and change it, by as many threads as a run has."""
    frost = session.settings.suite.source(FROST)
    textures = read_textures(Path(frost)) if frost else None
    pixels_of = PixelSource(session.settings.seed, Kept(0), textures).of(condition, classifier)

    def draw(sample: Sample) -> None:
        with suppress(OSError):
            pixels_of(sample)

    threads = max(2, torch.get_num_threads())
    first, *others = images.samples[: 1 + _DRAWN * threads]
    outlines.draw(first.path)
    slow = timing.timed(lambda: draw(first)).seconds > _LONG_ENOUGH  # pays for what is made once
    few = list(outlines.drawn(others[:threads] if slow else others, _LONG_ENOUGH)) or [first]
    with ThreadPoolExecutor(threads) as pool:
        together = timing.timed(lambda: list(pool.map(draw, few)))
    if not together.hindered:
        return together.seconds / len(few)
    with _one_thread():
        alone = timing.timed(lambda: list(map(draw, few[:threads]))).alone / len(few[:threads])
    return timing.unhindered(together, alone * len(few), threads) / len(few)


def _memory(device: torch.device, workers: int) -> str:
    """Of this process after loading the models and a batch, and what pixels may take beside it."""
    # ru_maxrss is in KiB on Linux, in bytes on macOS
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    kept = memory_limit() / workers
    text = f"memory: {workers} x {now / _GB:.1f} GB for models and a batch, at most {kept / _GB:.1f} GB each for pixels"
    if device.type == "cuda":
        text += f", {torch.cuda.max_memory_allocated(device) / _GB:.1f} GB on the GPU"
    return text


def duration(seconds: float) -> str:
    """'2h05m', '3m20s' or '7.1s'."""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}m"
    return f"{seconds // 60:.0f}m{seconds % 60:02.0f}s" if seconds >= 60 else f"{seconds:.1f}s"
