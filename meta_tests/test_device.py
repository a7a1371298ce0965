import pytest
import torch

from models import InputError
from models.device import set_up_device


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


def test_an_unknown_device_is_named():
    with pytest.raises(InputError, match="--device gpu"):
        set_up_device("gpu")
