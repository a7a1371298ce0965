from types import SimpleNamespace

import pytest
import torch

from clip_robustness.evaluation.machine import machine
from clip_robustness.fixtures.options import SETTINGS
from clip_robustness.fixtures.start import _COMPARED, MODELS, WARNINGS, pytest_report_header
from clip_robustness.models import InputError
from clip_robustness.models.device import set_up_device, threads_of
from clip_robustness.models.precision import computing_in


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert set_up_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("worker", "device"), [("gw0", "cuda:0"), ("gw1", "cuda:1"), ("gw2", "cuda:0")])
def test_workers_take_turns_at_the_gpus(monkeypatch, worker, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert set_up_device("auto") == torch.device(device)


@pytest.mark.parametrize(
    ("name", "gpus", "says"),
    [
        ("cuda", 0, "--device cuda: torch finds no CUDA GPU here; give --device cpu"),
        ("cuda:1", 0, "--device cuda:1: torch finds no CUDA GPU here; give --device cpu"),
        ("cuda:5", 2, "--device cuda:5: torch finds 2 CUDA GPUs here, numbered from 0; give one of them, or"),
        ("mps", 0, "--device mps: torch finds no Apple GPU here; give --device cpu"),
    ],
)
def test_a_device_that_is_not_there_says_what_to_give(monkeypatch, name, gpus, says):
    def unavailable(*_, **__):
        raise RuntimeError("a reason of torch\nin many lines")

    monkeypatch.setattr(torch, "empty", unavailable)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError) as told:
        set_up_device(name)
    assert str(told.value).startswith(says)
    assert "\n" not in str(told.value)


def test_workers_divide_the_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    try:
        set_up_device("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_chosen_number_of_threads_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(workers=8) == 3


def test_float32_means_float32():
    """CUDA's convolutions take TensorFloat-32 by default."""
    torch.backends.cudnn.allow_tf32 = True
    set_up_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_tf32_is_for_the_forward_pass_of_its_model_alone():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with computing_in("tf32", torch.device("cuda")):
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_the_header_names_each_workers_gpu_and_what_to_know_of_a_model(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    monkeypatch.setattr("clip_robustness.evaluation.machine.machine", machine.__wrapped__)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    settings = SimpleNamespace(suite=SimpleNamespace(name="mine", rules=()), device="auto", compare=None)
    model = {
        "role": "candidate",
        "model": "open_clip:X@x.pt",
        "precision": "bf16",
        "image_size": 224,
        "prompts": "simple",
    }
    stash = {SETTINGS: settings, MODELS: [model | {"warnings": ["GELU is assumed"]}], _COMPARED: [], WARNINGS: []}
    config = SimpleNamespace(stash=stash, option=SimpleNamespace(tx=["popen"] * 3))
    assert pytest_report_header(config) == [
        "robustness: suite mine on cuda:0 cuda:1, workers: 3",
        "  candidate open_clip:X@x.pt: bf16, 224 px, prompts simple",
        "  warning: GELU is assumed",
    ]


def test_an_unknown_device_is_named():
    with pytest.raises(InputError, match="--device gpu"):
        set_up_device("gpu")
