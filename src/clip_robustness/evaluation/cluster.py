"""`--engine ray`: the outcomes of a run computed by tasks on a Ray cluster, and stored here, where the tests read them.

A task is a block of a condition's images under all models that need them, so that images are changed once. It gets
models and lists of images from Ray's object store and gives back answers: nodes need the code, its libraries and the
images under the same paths, but no weights, no network and no common store. A task whose worker or node is lost is
tried again; what was stored before stays.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clip_robustness.conditions.condition import FROST, Condition
from clip_robustness.conditions.kept import memory_limit
from clip_robustness.datasets.dataset import Dataset
from clip_robustness.errors import InputError
from clip_robustness.evaluation.costs import Costs
from clip_robustness.evaluation.evaluator import BatchResult, Evaluator
from clip_robustness.evaluation.needs import needs
from clip_robustness.evaluation.settings import Cell, Settings
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.device import set_up_device
from clip_robustness.models.held import Held
from clip_robustness.models.spec import ModelSpec
from clip_robustness.registry import load_file

if TYPE_CHECKING:
    from clip_robustness.evaluation.request import AnyModel, EvalRequest
    from clip_robustness.evaluation.session import Session

_BATCHES = 4
"""In a block."""
_RETRIES = 3
"""Of a task whose worker dies: one that takes its worker along each time is given up."""
_LISTS = 8
"""Of images, that a worker holds."""
_SHARE = 0.4
"""Of a GPU's memory for models, which are held from task to task; on a CPU they may take as much as pixels."""
_PATIENCE = 10.0
"""For a cluster to answer, in seconds."""
_ROOT = Path(__file__).parents[2]

Key = tuple[str, str]
"""A model and a condition."""
Found = tuple[list[BatchResult] | Exception, float]
"""The answers to a block, batch by batch, or what went wrong; and seconds."""


class Cluster:
    """The tasks of a run, from their submission until the last answer is stored."""

    def __init__(self, session: Session, cells: Sequence[Cell], costs: Costs) -> None:
        """Submits what the cells need and the store lacks: the dearest first, or, under a time limit, in the order of
        the cells. Raises `InputError` as `connect` does.
        """
        self._bench, self._ray = session, connect()
        self._put: dict[int, Any] = {}
        self._requests: dict[tuple[ModelSpec, Condition], EvalRequest] = {}
        self._tasks: dict[Any, tuple[Condition, list[ModelSpec]]] = {}
        self._open: dict[Key, int] = defaultdict(int)
        self._failed: dict[Key, Exception] = {}
        self._seconds: dict[Key, float] = {}
        gpus, cpus = (int(self._ray.cluster_resources().get(name, 0)) for name in ("GPU", "CPU"))
        if gpus and session.settings.device == "auto":  # here there may be none
            session.evaluator.device_type = "cuda"
        shares = {"num_gpus": 1, "num_cpus": max(1, cpus // gpus)} if gpus else {"num_cpus": 1}
        # max_calls: else a GPU's worker would end after each task, and its models with it
        self._remote = self._ray.remote(max_retries=_RETRIES, max_calls=0, **shares)(_block)
        wanted = list(needs(session.settings, cells).items())
        if not session.settings.deadline:
            wanted.sort(key=lambda need: -sum(costs.of(spec, need[0]) for spec in need[1]))
        for condition, specs in wanted:
            with suppress(InputError):  # its test will say so
                self._submit(specs, condition)

    def wait(self, spec: ModelSpec, condition: Condition) -> float:
        """Until what the cluster tells of a cell is stored, or the time is up; gives the seconds that tasks took,
        once, as a cell that shares the computation reads it from the store.

        Raises what computing it raised, and `RuntimeError` where its workers died too often.
        """
        key = (spec.text, condition.computation)
        if key not in self._seconds:
            self._submit([spec], condition)
        deadline = self._bench.settings.deadline
        while self._open[key]:
            if deadline and deadline.passed:
                self.close()
                break
            ready, _ = self._ray.wait(list(self._tasks), timeout=None if deadline is None else 1.0)
            for task in ready:
                self._store(task)
        if error := self._failed.get(key):
            raise error
        seconds, self._seconds[key] = self._seconds[key], 0.0
        return seconds

    def close(self) -> None:
        """Give up what is still computed."""
        for task in self._tasks:
            self._ray.cancel(task)
        self._tasks, self._open = {}, defaultdict(int)

    def _submit(self, specs: Sequence[ModelSpec], condition: Condition) -> None:
        questions = {spec: self._bench.question(spec, condition) for spec in specs}
        images = self._bench.images(condition)
        missing = {spec: {sample.id for sample in self._bench.evaluator.missing(*q)} for spec, q in questions.items()}
        settings = self._bench.settings
        size = len(images) if condition.kind.craft_set else _BATCHES * settings.batch_size
        for spec in specs:
            self._requests[spec, condition] = self._bench.evaluator.request(*questions[spec])
            self._seconds.setdefault((spec.text, condition.computation), 0.0)
        for start in range(0, len(images), size):
            places = range(start, min(start + size, len(images)))
            ids = {sample.id for sample in images.samples[places.start : places.stop]}
            needing = [spec for spec in specs if ids & missing[spec]]
            if not needing:
                continue
            models = [(self._ref(questions[spec][0]), self._ref(questions[spec][3])) for spec in needing]
            task = self._remote.remote(settings, condition, [self._ref(images)], places, models)
            self._tasks[task] = condition, needing
            for spec in needing:
                self._open[spec.text, condition.computation] += 1

    def _ref(self, given: AnyModel | Dataset | None) -> Any:
        """Where the object store has it; tasks fetch it once a worker."""
        if given is None:
            return None
        value = given if isinstance(given, Dataset) else given.loaded
        if id(value) not in self._put:
            try:
                self._put[id(value)] = self._ray.put(value)
            except (TypeError, pickle.PicklingError) as error:
                raise InputError(f"--engine ray: {value.name} can't be sent to other processes: {error}") from error
        return self._put[id(value)]

    def _store(self, task: Any) -> None:
        condition, specs = self._tasks.pop(task)
        try:
            node, absent, found = self._ray.get(task)
            if here := [path for path in absent if path.exists()]:
                lacks = f"node {node} lacks {len(here)} images that are here (first: {here[0]}); all nodes need them"
                found = [(InputError(f"--engine ray: {lacks} under the same paths"), 0.0)] * len(specs)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            given_up = RuntimeError(f"--engine ray: a block of {condition.id} was given up: {reason}")
            found = [(given_up, 0.0)] * len(specs)
        for spec, (answers, seconds) in zip(specs, found, strict=True):
            key = (spec.text, condition.computation)
            self._open[key] -= 1
            self._seconds[key] += seconds
            if isinstance(answers, Exception):
                self._failed[key] = answers
                continue
            try:
                for block in answers:
                    self._bench.evaluator.keep(self._requests[spec, condition], block)
            except InputError as error:
                self._failed[key] = error


def connect() -> Any:
    """Connects to the cluster of `RAY_ADDRESS`, or starts one of this machine's CPUs and GPUs; gives Ray.

    Raises `InputError` where Ray is not installed or can't be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs the library ray; pip install ray") from None
    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS", "")
    here = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}}
    own: dict[str, Any] = {} if address else {"address": "local", "include_dashboard": False}
    try:
        _knock(address)
        ray.init(runtime_env=here, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        named = f" of RAY_ADDRESS={address}" if address else ""
        raise InputError(f"--engine ray: the cluster{named} can't be reached: {str(error).splitlines()[0]}") from error
    return ray


def _knock(address: str) -> None:
    """Raises `OSError` where nobody listens: Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


# What follows runs on the nodes.


def _block(
    settings: Settings, condition: Condition, images_ref: list[Any], places: range, models: list[tuple[Any, Any]]
) -> tuple[str, list[Path], list[Found]]:
    """The answers of each model to the images at these places; and the node, and the files of images that it lacks."""
    for plugin in settings.suite.plugins:
        load_file(plugin)
    device = _device(settings.device)
    evaluator = _evaluator(device, settings.seed, settings.batch_size, settings.suite.source(FROST))
    images = _images(images_ref[0])
    needed = [ref for pair in models for ref in pair if ref]
    node, found = socket.gethostname(), list[Found]()
    absent = list(dict.fromkeys(i.path for i in images.samples[places.start : places.stop] if not i.path.exists()))
    for pair in models:
        began = time.perf_counter()
        answers: list[BatchResult] | Exception
        try:
            own, other = (ref and _held(device).get(ref, partial(_model, ref, device), needed) for ref in pair)
            answers = evaluator.answers(own, condition, images, other, places)
        except Exception as error:  # of this model alone
            answers = error
        found.append((answers, time.perf_counter() - began))
    return node, absent, found


@cache
def _device(name: str) -> torch.device:
    return set_up_device(name)


@cache
def _evaluator(device: torch.device, seed: int, batch_size: int, frost: str | None) -> Evaluator:
    limit = _limit()
    sharing = (os.cpu_count() or 1) if device.type == "cpu" else 1  # a GPU is a task's own
    return Evaluator(
        None, device=device, seed=seed, batch_size=batch_size, limit_bytes=limit, sharing=sharing, frost=frost
    )


def _limit() -> int:
    """Bytes of one of as many workers as there are CPUs."""
    return memory_limit() // (os.cpu_count() or 1)


@cache
def _held(device: torch.device) -> Held:
    whole = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else 0
    return Held(int(_SHARE * whole) or _limit())


def _model(ref: Any, device: torch.device) -> Classifier:
    import ray

    found: Classifier = ray.get(ref)
    return found.to(device)


@lru_cache(maxsize=_LISTS)
def _images(ref: Any) -> Dataset:
    """The last few stay, as blocks of a condition follow each other."""
    import ray

    found: Dataset = ray.get(ref)
    return found
