"""How long work takes on a machine that others use, by counts of the kernel and by a clock of the test."""

import os
import subprocess
import sys
import time

import pytest

from clip_robustness import timing
from clip_robustness.timing import Timed


@pytest.mark.skipif(not timing._TASKS.is_dir(), reason="only Linux tells how long threads waited for a core")
def test_what_others_take_of_a_core_is_left_out():
    """This thread and another process are given one core: by the clock work takes twice as long, alone it does not."""
    cores = os.sched_getaffinity(0)
    one = min(cores)
    busy = subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{one}])\nwhile True: pass"])
    os.sched_setaffinity(0, [one])
    try:
        used = time.thread_time()
        call = timing.timed(lambda: sum(range(20_000_000)))
        used = time.thread_time() - used
    finally:
        os.sched_setaffinity(0, cores)
        busy.kill()
        busy.wait()
    assert call.hindered
    assert call.seconds > 1.3 * used
    assert call.alone == pytest.approx(used, rel=0.1)


def test_the_call_that_was_least_in_others_way_counts(monkeypatch):
    took = iter([3.0, 1.0, 2.0, 9.0])
    monkeypatch.setattr(timing, "timed", lambda run: Timed(next(took), 0, 0))
    assert timing.fastest(lambda: None, long_enough=6.0).seconds == 1.0
    assert next(took) == 9.0, "and no longer than is enough"


@pytest.mark.parametrize(
    ("together", "seconds"),
    [
        (Timed(5.0, 0.0, 0.1), 5.0),  # a model that one thread computes as fast: what was seen counts
        (Timed(5.0, 1.0, 4.0), 1.0),
        (Timed(0.7, 0.3, 0.6), 0.7),
    ],
)
def test_threads_that_wait_for_each_other(together, seconds):
    assert timing.unhindered(together, alone=2.0, threads=4) == seconds
