"""The loop that runs every iterative attack over a whole image set.

One forward pass a step tells who still stands and, for white-box attacks, gives the gradient. An image that is wrong
when clean is never attacked, one that is fooled leaves at once, and others take the free places, so that the batch
stays full whatever the images' fates. Every image has its own eps, step and random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_robustness.models.classifier import Classifier, check_images, known, top_classes
from clip_robustness.models.device import sent


@dataclass(frozen=True, eq=False)
class Task:
    """An image to attack: float (3, side, side) in [0, 1] on the classifier's device, its label, and the radius of the
    L-infinity ball in the same unit: one number, or (3, 1, 1), one a channel. `rng` serves the methods that draw.
    `passes` and `flat` are what attacks before this one took and saw of it, as in `Attacked`."""

    key: Hashable
    image: Tensor
    label: int
    eps: float | Tensor
    rng: np.random.Generator | None = None
    passes: int = 0
    zero_gradient: bool = False


@dataclass(frozen=True, eq=False)
class Attacked:
    """What became of a task under the last method that was tried: the perturbed image, what is predicted for it, what
    it took."""

    task: Task
    method: Method
    image: Tensor
    prediction: int
    steps: int
    passes: int
    """Forward passes that this image needs, queries among them, whatever becomes of others: to look at it once more for
    a gradient is not counted."""
    zero_gradient: bool
    """Whether a gradient was zero or not finite on the way, which robustness by masked gradients looks like."""

    @property
    def fooled(self) -> bool:
        return self.prediction != self.task.label

    @property
    def again(self) -> Task:
        """The task for another method."""
        return replace(self.task, passes=self.passes, zero_gradient=self.zero_gradient)


Rows = NDArray[np.int64]
"""Indices of images of a batch, in order."""


@dataclass(eq=False)
class Batch:
    """Images under attack, n of them; methods keep tensors (n, ...) of their own in `memory`. What can be counted is
    counted on the host: to read from a device waits for all that it still has to do."""

    tasks: list[Task]
    clean: Tensor
    now: Tensor
    labels: Tensor
    eps: Tensor
    step: NDArray[np.int64]
    steps: NDArray[np.int64]
    passes: NDArray[np.int64]
    zero_gradient: Tensor
    least: Tensor
    most: Tensor
    """Between which pixels stay: the ball, where the method does not leave it, and the range."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    survival: float | None = None
    """The share of images that a move did not fool, so far; None where images do not leave early. Where it is small,
    who looks before it takes gradients saves more backward passes than it makes forward passes."""

    def __len__(self) -> int:
        return len(self.tasks)

    def rng(self, row: int) -> np.random.Generator:
        """That of the image itself."""
        rng = self.tasks[row].rng
        assert rng is not None
        return rng

    def there(self, values: NDArray[Any]) -> Tensor:
        """On the device, as indices or values of images."""
        return sent(torch.from_numpy(values), self.now.device)

    def rows(self, keep: Rows) -> Batch:
        there, tasks = self.there(keep), [self.tasks[i] for i in keep]
        memory = {name: value[there] for name, value in self.memory.items()}
        counts: dict[str, Any] = {name: value[keep] for name, value in self._of(np.ndarray)}
        tensors: dict[str, Any] = {name: value[there] for name, value in self._of(Tensor)}
        return replace(self, tasks=tasks, memory=memory, **counts, **tensors)

    def joined(self, other: Batch) -> Batch:
        memory = {name: torch.cat([value, other.memory[name]]) for name, value in self.memory.items()}
        counts: dict[str, Any] = {name: np.append(value, getattr(other, name)) for name, value in self._of(np.ndarray)}
        tensors: dict[str, Any] = {name: torch.cat([value, getattr(other, name)]) for name, value in self._of(Tensor)}
        return replace(self, tasks=self.tasks + other.tasks, memory=memory, **counts, **tensors)

    def _of(self, kind: type) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]


Move = Callable[[Rows], Tensor]
"""The images that still stand -> where they go, before they are put back into the ball."""


class Method(Protocol):
    """How to step."""

    wanders: ClassVar[bool] = False
    """Whether its images may leave the ball on the way: what counts there is inside alone."""
    blind: ClassVar[bool] = False
    """Whether it sees logits alone, and takes no gradient."""

    def steps(self, eps: float) -> int:
        """How many at most."""

    def begin(self, classifier: Classifier, batch: Batch) -> None:
        """Fill the memory of images that enter; may lower their number of steps."""

    def look(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Move]:
        """Logits (n, classes) of the images as they are now, and how to go on. Counts its forward passes."""


Methods = tuple[Method, ...]
"""One after the other, each on what the ones before it left standing."""


def run(
    classifier: Classifier,
    method: Method,
    tasks: Iterable[Task | Attacked],
    *,
    size: int,
    stop_early: bool = True,
    bounds: tuple[Tensor | float, Tensor | float] = (0.0, 1.0),
) -> Iterator[Attacked]:
    """Attack all tasks, `size` at a time; yields each as it is done, not in order. What is done already passes through.

    Without `stop_early` all images, also those that are wrong when clean, take all steps: for crafting on a surrogate.
    `bounds` are the least and the largest pixel value.
    Raises `InputError` for images outside [0, 1] and `FloatingPointError` for logits that are not finite.
    """
    source = iter(tasks)
    active: Batch | None = None
    moves = survived = 0
    while True:
        fresh: list[Task] = []
        room = size - len(active) if active else size
        while len(fresh) < room and (task := next(source, None)) is not None:
            if isinstance(task, Attacked):
                yield task
            else:
                fresh.append(task)
        if fresh:
            entering = _entered(classifier, method, fresh, bounds)
            active = active.joined(entering) if active else entering
        if not active:
            return
        active.survival = (survived + 1) / (moves + 3) if stop_early else None
        logits, move = method.look(classifier, active)
        labels = np.array([task.label for task in active.tasks])
        classes, zero_gradient, outside = _seen(classifier, method, active, logits.detach())
        predictions = np.where(outside, labels, classes)  # what left its ball fools nobody
        going_on = active.step < active.steps
        if stop_early:
            stand = predictions == labels
            moves += int((active.step > 0).sum())
            survived += int(stand[active.step > 0].sum())
            going_on &= stand
        done = [
            Attacked(
                active.tasks[i], method, (active.clean if outside[i] else active.now)[i].clone(), int(predictions[i]),
                int(active.step[i]), int(active.passes[i]), bool(zero_gradient[i]),
            )
            for i in np.flatnonzero(~going_on)
        ]  # fmt: skip
        staying = np.flatnonzero(going_on)
        if len(staying):
            moved = move(staying)
            if len(staying) < len(active):
                active = active.rows(staying)
            active.now = moved.clamp(active.least, active.most).detach()
            active.step = active.step + 1
        else:
            active = None
        del logits, move  # the model's activations: others may run before this one goes on
        yield from done


def _seen(classifier: Classifier, method: Method, batch: Batch, logits: Tensor) -> NDArray[np.int64]:
    """Of each image its class, whether a gradient was zero, and whether it is outside its ball: (3, n). All that
    is read back of a step, at once: each reading waits for the device."""
    classes = top_classes(logits)
    outside = _outside(batch) if method.wanders else torch.zeros_like(batch.zero_gradient)
    found: NDArray[np.int64] = torch.stack([classes, batch.zero_gradient.long(), outside.long()]).cpu().numpy()
    known(classifier, found[0].tolist())
    return found


def looked(
    classifier: Classifier, batch: Batch, without: NDArray[np.bool_], trace: Callable[[Rows], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Rows, Tensor, Tensor]:
    """Logits of all, images `without` gradients first; which the others are, and what `trace` returns for them: images
    and logits, ready for a gradient, empty where there are none."""
    plain, traced = np.flatnonzero(without), np.flatnonzero(~without)
    parts, seen, theirs = list[tuple[Rows, Tensor]](), batch.now[:0], batch.now[:0]
    if len(plain):
        with torch.no_grad():
            parts.append((plain, classifier(of_rows(batch.now, batch.there(plain)))))
    if len(traced):
        seen, theirs = trace(traced)
        parts.append((traced, theirs.detach()))
    return in_order(batch, parts), traced, seen, theirs


def to_trace(batch: Batch, rows: Rows) -> Tensor:
    """Those images, as leaves of a graph of their own."""
    return of_rows(batch.now, batch.there(rows)).detach().requires_grad_()


def per_image(values: Tensor) -> Tensor:
    """One value an image, (n,), for all of its pixels, (n, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Those of the images of these indices, which are in order: without a copy where they are all."""
    return values if len(rows) == len(values) else values[rows]


def in_order(batch: Batch, parts: Sequence[tuple[Rows, Tensor]]) -> Tensor:
    """The values of all images, from those of some each."""
    if len(parts) == 1:
        return parts[0][1]
    places = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return torch.cat([values for _, values in parts])[batch.there(places)]


def projected(images: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
    """Images (n, 3, side, side), put back into the balls around the clean ones."""
    return images.clamp(clean - eps, clean + eps)


def _outside(batch: Batch) -> Tensor:
    return ((batch.now - batch.clean).abs() > batch.eps).flatten(1).any(1)


def run_in_order(classifier: Classifier, method: Method, tasks: Sequence[Task], **options: Any) -> list[Attacked]:
    """What became of all tasks, in their order; `options` are those of `run`."""
    done = {attacked.task.key: attacked for attacked in run(classifier, method, tasks, **options)}
    return [done[task.key] for task in tasks]


def _entered(
    classifier: Classifier, method: Method, tasks: list[Task], bounds: tuple[Tensor | float, Tensor | float]
) -> Batch:
    clean = torch.stack([task.image for task in tasks])
    check_images(classifier, clean)
    low, high = (b if isinstance(b, Tensor) else sent(torch.tensor(b), clean.device) for b in bounds)
    radii = [torch.as_tensor(task.eps, dtype=clean.dtype).cpu() for task in tasks]

    eps = sent(torch.stack([radius.reshape(-1, 1, 1).expand(3, 1, 1) for radius in radii]), clean.device)
    room = torch.inf if method.wanders else eps
    batch = Batch(
        tasks=tasks,
        clean=clean,
        now=clean,
        labels=sent(torch.tensor([task.label for task in tasks]), clean.device),
        eps=eps,
        step=np.zeros(len(tasks), np.int64),
        steps=np.array([method.steps(_largest(task.eps)) for task in tasks]),
        passes=np.array([task.passes for task in tasks]),
        zero_gradient=sent(torch.tensor([task.zero_gradient for task in tasks]), clean.device),
        least=(clean - room).clamp(low, high),
        most=(clean + room).clamp(low, high),
    )
    method.begin(classifier, batch)
    return batch


def _largest(eps: float | Tensor) -> float:
    """Of all channels, as float32 has it."""
    return float(eps.max() if isinstance(eps, Tensor) else np.float32(eps))
