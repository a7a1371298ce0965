"""The suite from Python: models, data sets, conditions and outcomes, without pytest and without a gate.

>>> from clip_robustness import evaluate, load_dataset, load_model
>>> model = load_model("mini:supervised", classes="mini")
>>> images = load_dataset("mini:imagenet", classes="mini", samples=24)
>>> clean, attacked = (evaluate(model, condition, images) for condition in ("clean", "bim-8/255"))
>>> bool(attacked.correct.sum() < clean.correct.sum()), len(clean.ids)
(True, 24)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from clip_robustness import models, suites
from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.ids import condition_of
from clip_robustness.errors import InputError
from clip_robustness.results import results

if TYPE_CHECKING:
    from clip_robustness.datasets.classes import ClassList
    from clip_robustness.datasets.dataset import Dataset
    from clip_robustness.metrics.outcomes import Outcomes
    from clip_robustness.models.classifier import Classifier


def load_model(spec: str, classes: str | ClassList = "imagenet", device: str = "cpu") -> Classifier:
    """The model of a spec, such as `open_clip:ViT-B-32/openai`, as a classifier over a class list: `imagenet`,
    `cifar10`, `mini`, or a file.

    `classifier.logits(images)` takes float (n, 3, side, side) in [0, 1] at the model's own resolution and returns float
    (n, classes). Raises `InputError`, in one sentence, for what is wrong with the spec, its files or the model; warns
    with `ModelWarning` of what one should know before trusting its figures.
    """
    from clip_robustness.datasets.classes import class_list

    return models.load(spec, class_list(classes) if isinstance(classes, str) else classes, device)


def load_dataset(
    place: str, classes: str = "imagenet", *, name: str = "imagenet", samples: int | None = None, seed: int = 0
) -> Dataset:
    """The images of a place, as a suite names it under `[data]`: a folder, `wds:SHARDS`, `hf:NAME`, or `mini:NAME`.

    `name` tells the layout where it is one of the benchmark's, such as `imagenet-v2`. `samples` images are drawn class
    by class. Raises `InputError` naming the file where it can't be read or has other classes.
    """
    from clip_robustness.datasets import places
    from clip_robustness.datasets.classes import class_list
    from clip_robustness.datasets.dataset import subsample
    from clip_robustness.datasets.load import load

    return subsample(load(name, places.folder(place), class_list(classes)), samples, seed)


def list_conditions(suite: str = "mini") -> Sequence[Condition]:
    """The conditions of a shipped suite or a suite's TOML, in the order of the report.

    Raises `InputError` for a suite that can't be read.

    Examples:
        >>> [condition.path for condition in list_conditions("mini")][:2]
        ['clean/clean', 'clean/clean-imagenet-r-classes']
    """
    return suites.load(suite).conditions


def evaluate(
    model: Classifier,
    condition: Condition | str,
    images: Dataset,
    *,
    surrogate: Classifier | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Outcomes:
    """What a model makes of images under a condition: predictions int64 (n,), `correct` bool (n,), in the order of
    `ids`.

    `condition` is one of `list_conditions`, or its id: `clean`, `bim-8/255`, `imagenet-c-fog-3`, `night`. `surrogate`
    is what attacks by transfer are crafted on. With a `store`, a folder, outcomes are kept there and computed once. The
    result depends on the seed, and neither on the batch size nor on the order, but for floating point.

    Raises `InputError` for an unknown condition, one that is made of other cells (means, overlap), a missing surrogate,
    or a store that can't be written.
    """
    from clip_robustness.evaluation.evaluator import Evaluator
    from clip_robustness.evaluation.members import combined
    from clip_robustness.evaluation.store import Store

    asked = condition_of(condition) if isinstance(condition, str) else condition
    if asked.members:
        options: dict[str, Any] = {"surrogate": surrogate, "store": store, "seed": seed, "batch_size": batch_size}
        return combined(asked, lambda member: evaluate(model, member, images, **options))
    if asked.kind.averages or asked.compared != asked:
        raise InputError(f"'{asked.id}' is made of other cells; evaluate these")
    if asked.kind.crafted_on == "surrogate" and surrogate is None:
        raise InputError(f"{asked.id}: attacks by transfer are crafted on a surrogate; give one")
    if asked.kind.is_wording or asked.kind.crafted_on == "wordings":
        raise InputError(f"{asked.path} needs a model's text tower; run it in a suite")
    with TemporaryDirectory() as temporary:
        kept = Store(Path(store or temporary))
        evaluator = Evaluator(kept, device=model.mean.device, seed=seed, batch_size=batch_size)
        return evaluator(model, asked, images, surrogate)


def read_results(file: str | Path) -> results.Results:
    """A results.json. Raises `ValueError` naming the file where it is not one, or of another schema."""
    return results.read(Path(file))
