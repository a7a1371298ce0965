import pytest
import torch

from clip_robustness.errors import InputError
from clip_robustness.evaluation import machine as module
from clip_robustness.evaluation.machine import Machine


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Counts how often torch is asked, as in a new process each time."""
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path))
    calls, ask = [], module._asked
    monkeypatch.setattr(module, "_asked", lambda *args: (calls.append(args), ask(*args))[1])

    def machine(name):
        return module.machine.__wrapped__(name)

    return machine, calls


@pytest.fixture
def drivers(monkeypatch):
    """The devices under /dev."""
    found = []
    monkeypatch.setattr(module, "_drivers", lambda: found)
    return found


def test_torch_is_asked_once(asked, drivers):
    machine, calls = asked
    assert [machine("cpu"), machine("cpu")] == [Machine("cpu")] * 2
    assert len(calls) == 1


def test_another_driver_or_other_visible_gpus_are_asked_for_again(asked, drivers, monkeypatch):
    machine, calls = asked
    machine("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    machine("cpu")
    drivers.append("/dev/nvidia0")
    machine("cpu")
    machine("cpu")  # a GPU that torch does not see is no state to remember
    assert len(calls) == 4


def test_gpus_are_remembered_by_name(asked, drivers, monkeypatch):
    machine, calls = asked
    drivers.append("/dev/nvidia0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    assert machine("auto") == machine("auto") == Machine("cuda:0", ("NVIDIA H100",))
    assert machine("auto").device_type == "cuda"
    assert len(calls) == 1


def test_a_device_that_is_none_is_an_error(asked, drivers):
    with pytest.raises(InputError, match="--device toaster"):
        asked[0]("toaster")
