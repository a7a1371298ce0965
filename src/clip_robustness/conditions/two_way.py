"""Between two classes: what an image shows, and what it pretends to show by a word that is written on it.

As SCAM and RTA-100 are scored (Westerhoff et al. 2025, section 4; Azuma & Matsui 2023, section 5).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from clip_robustness.conditions.context import Answers, Batches, Context
from clip_robustness.metrics.outcomes import Prediction
from clip_robustness.models.classifier import predictions_of


@torch.inference_mode()
def run(context: Context, batches: Batches) -> Iterator[Answers]:
    """The label or the rival of each image, whichever has the larger logit, of equal ones the rival. `among_all`:
    whether the label has the largest of all classes; `word`: whether the rival has."""
    for batch in batches:
        logits = context.victim.logits(context.images(batch))
        best = predictions_of(context.victim, logits)
        labels = context.labels([sample for sample, _ in batch])
        rivals = torch.tensor([sample.rival for sample, _ in batch], device=logits.device)
        of_label, of_rival = (logits.gather(1, places[:, None])[:, 0] for places in (labels, rivals))
        chosen = torch.where(of_label > of_rival, labels, rivals)
        found = zip(batch, chosen.tolist(), (best == labels).tolist(), (best == rivals).tolist(), strict=True)
        yield [
            (sample, Prediction(prediction, {"among_all": float(all_right), "word": float(read)}))
            for (sample, _), prediction, all_right, read in found
        ]
