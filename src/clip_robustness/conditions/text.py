"""The text side: what a zero-shot model predicts where the same classes are said in other words.

Images are embedded once in a run, and kept for all wordings of all conditions: a hundred prompt sets cost the forward
passes of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.conditions.kept import pixels_key
from clip_robustness.errors import InputError
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.worded import Worded


@torch.inference_mode()
def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """The prediction under the first wording; of several, those under each as the measures `wording 0`, `wording 1`,
    ..."""
    victim = context.victim
    if not isinstance(victim, Worded):
        raise InputError(f"{victim.name}: {context.condition.path} is for the zero-shot models of a suite")
    for batch in batches:
        every = victim.answers(_embedded(context, victim, batch)).T.tolist()
        yield [(sample, Prediction(of[0], _measures(of))) for (sample, _), of in zip(batch, every, strict=True)]


def _measures(answers: Sequence[int]) -> dict[str, float]:
    return {f"wording {i}": float(answer) for i, answer in enumerate(answers)} if len(answers) > 1 else {}


def _embedded(context: Context, victim: Worded, batch: Batch) -> Tensor:
    """Unit vectors (n, width), those that are known from memory."""
    keys = [("embedding", victim.inner.fingerprint, *pixels_key(sample)) for sample, _ in batch]
    known = [context.kept.get(key) for key in keys]
    missing = [i for i, vector in enumerate(known) if vector is None]
    if missing:
        fresh = victim.embed(context.images([batch[i] for i in missing])).cpu().numpy()
        for i, vector in zip(missing, fresh, strict=True):
            known[i] = vector
            context.kept.put(keys[i], vector, clean=True)
    return torch.from_numpy(np.stack([vector for vector in known if vector is not None])).to(context.device)
