"""Between two classes: what an image shows, and what it pretends to show by a word that is written on it.

As SCAM and RTA-100 are scored (Westerhoff et al. 2025, section 4; Azuma & Matsui 2023, section 5).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from clip_robustness.conditions.context import Answers, Batch, Batches, Context
from clip_robustness.conditions.scoring import one_behind
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import known, top_classes
from clip_robustness.models.device import sent


def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """The label or the rival of each image, whichever has the larger logit, of equal ones the rival. `among_all`:
    whether the label has the largest of all classes; `word`: whether the rival has."""
    for batch, found in one_behind((batch, _asked(context, batch)) for batch in batches):
        best, chosen = zip(*found.tolist(), strict=True)
        known(context.victim, best)
        yield [
            (sample, Prediction(one, {"among_all": float(top == sample.label), "word": float(top == sample.rival)}))
            for (sample, _), top, one in zip(batch, best, chosen, strict=True)
        ]


@torch.inference_mode()
def _asked(context: Context, batch: Batch) -> Tensor:
    """The top class of all, and that of the two, int64 (n, 2)."""
    logits = context.victim.logits(context.images(batch))
    two = sent(torch.tensor([(sample.rival, sample.label) for sample, _ in batch]), logits.device)
    of_rival, of_label = logits.gather(1, two).unbind(1)
    return torch.stack([top_classes(logits), torch.where(of_label > of_rival, two[:, 1], two[:, 0])], 1)
