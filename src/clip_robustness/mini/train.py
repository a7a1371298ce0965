"""Train the embedded models from the drawn world: `python -m clip_robustness.mini.train clip`, `... supervised`,
`... filter`.

Writes `clip.safetensors`, `supervised.safetensors` and `filter.safetensors` beside this file, and with the last one
`filtered.json`, the pictures that it fails on. Pictures are drawn once into a cache folder; a checkpoint is kept after
each epoch, so that a stopped training goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import Normalize

from clip_robustness.cache import cache_folder
from clip_robustness.files import argument
from clip_robustness.mini.sets import picture, pretraining_pair
from clip_robustness.mini.world import CLASSES
from clip_robustness.models.device import tune_allocator
from clip_robustness.models.embedded import (
    CLIP_ARCHITECTURE,
    CLIP_WEIGHTS,
    FILTER_ARCHITECTURE,
    FILTER_WEIGHTS,
    FILTERED,
    FOLDER,
    SIZE,
    SUPERVISED_ARCHITECTURE,
    SUPERVISED_WEIGHTS,
)

PAIRS, PHOTOS, FILTER_PHOTOS, HELD_OUT = 100_000, 40_000, 12_000, 960
CANDIDATES, PER_CLASS = 4800, 20
"""For imagenet-a's counterpart: so many pictures are shown to the filter model, so many failures kept of each class."""
SEED = 0
PEAK_RATE, WEIGHT_DECAY = 2e-3, 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A model to train, its data, and what it learns. Images are uint8 (n, SIZE, SIZE, 3), batches normalised NCHW."""

    model: nn.Module
    images: Tensor
    targets: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    loss: Callable[[Tensor, Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]
    weights: Path
    epochs: int
    batch: int


def clip_task(cache: Path) -> Task:
    """Contrastive pre-training on pairs of picture and caption."""
    open_clip.add_model_config(FOLDER)
    model = open_clip.create_model(CLIP_ARCHITECTURE)
    tokenizer = open_clip.get_tokenizer(CLIP_ARCHITECTURE)
    images, captions = drawn(cache, "pairs", pretraining_pair, PAIRS)
    tokens = torch.cat([tokenizer(chunk.tolist()) for chunk in np.array_split(captions, 100)])
    names = tokenizer([f"a photo of a {name}" for name in CLASSES])

    def loss(batch: Tensor, text: Tensor) -> Tensor:
        model.logit_scale.data.clamp_(0, math.log(100))
        image_features, text_features, scale = model(batch, text)
        logits, pairs = scale * image_features @ text_features.T, torch.arange(len(batch))
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2

    def logits(batch: Tensor) -> Tensor:
        return model.encode_image(batch, normalize=True) @ model.encode_text(names, normalize=True).T

    config = open_clip.get_model_preprocess_cfg(model)
    pictures = torch.from_numpy(images)
    return Task(model, pictures, tokens, config["mean"], config["std"], loss, logits, CLIP_WEIGHTS, epochs=7, batch=256)


def labels_task(cache: Path, architecture: str, weights: Path, photos: int) -> Task:
    """Classification of the clean style alone."""
    model = timm.create_model(architecture, num_classes=len(CLASSES))
    images, labels = drawn(cache, "photos", _photo, photos)

    def loss(batch: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(model(batch), target, label_smoothing=0.1)

    config = resolve_data_config({}, model=model)
    pictures, targets = torch.from_numpy(images), torch.from_numpy(labels)
    return Task(model, pictures, targets, config["mean"], config["std"], loss, model, weights, epochs=5, batch=128)


def supervised_task(cache: Path) -> Task:
    return labels_task(cache, SUPERVISED_ARCHITECTURE, SUPERVISED_WEIGHTS, PHOTOS)


def filter_task(cache: Path) -> Task:
    """The model whose failures make imagenet-a's counterpart: neither a candidate nor a baseline."""
    return labels_task(cache, FILTER_ARCHITECTURE, FILTER_WEIGHTS, FILTER_PHOTOS)


def _photo(index: int) -> tuple[np.ndarray, int]:
    return picture("train", index)


def _held_out(index: int) -> tuple[np.ndarray, int]:
    """Pictures that no test set contains, to follow the training with."""
    return picture("train", 1_000_000 + index)


def drawn(
    cache: Path, name: str, draw: Callable[[int], tuple[np.ndarray, int | str]], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """`draw(i)` for i < count: images uint8 (count, SIZE, SIZE, 3) and what came with them, kept in `cache`."""
    images_file, notes_file = cache / f"{name}-{count}.npy", cache / f"{name}-{count}-notes.npy"
    if not notes_file.exists():
        log.info("drawing %d pictures for %s", count, name)
        images = np.lib.format.open_memmap(images_file, "w+", np.uint8, (count, SIZE, SIZE, 3))
        notes = []
        with ProcessPoolExecutor() as pool:
            for i, (image, note) in enumerate(pool.map(draw, range(count), chunksize=256)):
                images[i] = image
                notes.append(note)
        images.flush()
        np.save(notes_file, np.array(notes))
    return np.load(images_file), np.load(notes_file)


def shifted(images: Tensor, generator: torch.Generator, reach: int = 5) -> Tensor:
    """Each image moved by up to `reach` pixels, edges repeated; float (n, 3, SIZE, SIZE) in [0, 1]."""
    n = len(images)
    padded = F.pad(images.permute(0, 3, 1, 2).float() / 255, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)
    offsets = torch.randint(0, 2 * reach + 1, (2, n), generator=generator)
    rows, columns = (offset[:, None] + torch.arange(SIZE) for offset in offsets)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def batches(count: int, size: int, epoch: int) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED + epoch))
    yield from order[: count // size * size].split(size)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = min(400, steps // 10)
    progress = max(0, step - warmup) / max(1, steps - warmup)
    return PEAK_RATE * min(1, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * progress))


def fit(task: Task, cache: Path) -> None:
    """Train for the task's epochs, from the last checkpoint if there is one, and leave the weights in fp16."""
    model = task.model.to(memory_format=torch.channels_last)
    normalize = Normalize(task.mean, task.std)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
    checkpoint, start, step = cache / f"{task.weights.stem}.pt", 0, 0
    steps = task.epochs * (len(task.images) // task.batch)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, step = int(state["epoch"]), int(state["done"])
    for epoch in range(start, task.epochs):
        began, total = time.perf_counter(), 0.0
        generator = torch.Generator().manual_seed(1000 + epoch)
        model.train()
        for index in batches(len(task.images), task.batch, epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            images = normalize(shifted(task.images[index], generator)).contiguous(memory_format=torch.channels_last)
            loss = task.loss(images, task.targets[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total, step = total + loss.item() * len(index), step + 1
            if step % 50 == 0:
                log.info("step %d of %d, loss %.3f", step, steps, loss.item())
        rate = len(task.images) / (time.perf_counter() - began)
        accuracy = held_out_accuracy(task, normalize, cache)
        log.info("epoch %d: loss %.3f, held-out top-1 %.3f, %.0f/s", epoch, total / len(task.images), accuracy, rate)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1, "done": step}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
    save(task)


def held_out_accuracy(task: Task, normalize: Normalize, cache: Path) -> float:
    images, labels = drawn(cache, "held-out", _held_out, HELD_OUT)
    batch = normalize(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    task.model.eval()
    with torch.inference_mode():
        predictions = torch.cat([task.logits(part).argmax(1) for part in batch.split(240)])
    return float((predictions.numpy() == labels).mean())


def save(task: Task) -> None:
    """Weights as fp16; rows of the token embedding that no caption uses as zeros, which pack to nothing in git."""
    weights = {k: v.half() if v.is_floating_point() else v for k, v in task.model.state_dict().items()}
    if "token_embedding.weight" in weights:
        unused = torch.ones(len(weights["token_embedding.weight"]), dtype=torch.bool)
        unused[task.targets.unique()] = False
        weights["token_embedding.weight"][unused] = 0
    save_file({key: value.contiguous() for key, value in weights.items()}, task.weights)


TASKS = {"clip": clip_task, "supervised": supervised_task, "filter": filter_task}


def save_failures(task: Task, normalize: Normalize) -> None:
    """Note which pictures of imagenet-a's counterpart, the first of each class, the trained filter model gets wrong."""
    task.model.half().float().eval()  # as its file has it
    failures: dict[int, list[int]] = {label: [] for label in range(len(CLASSES))}
    for start in range(0, CANDIDATES, 240):
        pictures, labels = zip(*(picture("imagenet-a", i) for i in range(start, start + 240)), strict=True)
        with torch.inference_mode():
            images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
            predictions = task.logits(normalize(images)).argmax(1).tolist()
        for i, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
            if prediction != label:
                failures[label].append(start + i)
    FILTERED.write_text(json.dumps(sorted(i for found in failures.values() for i in found[:PER_CLASS])) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=TASKS)
    parser.add_argument("--cache", type=argument, default=cache_folder() / "training", help="pictures and checkpoints")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args.cache.mkdir(parents=True, exist_ok=True)
    tune_allocator()
    torch.manual_seed(SEED)
    task = TASKS[args.model](args.cache)
    fit(task, args.cache)
    if args.model == "filter":
        save_failures(task, Normalize(task.mean, task.std))


if __name__ == "__main__":
    main()
