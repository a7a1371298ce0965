"""The cache folder and the locks on it: without them a run is slower, or says in one sentence what to set."""

import logging
import os
import threading
import warnings
from errno import ENOLCK
from pathlib import Path

import filelock
import pytest

from clip_robustness import locks, models
from clip_robustness.cache import VARIABLE, CacheError, cache_folder, keep_newest, kept
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import ModelWarning
from clip_robustness.evaluation.store import Store
from clip_robustness.locks import locked
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import head

MINI = class_list("mini")


@pytest.fixture
def no_home(monkeypatch):
    for name in (VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", unknown)
    head._warn.cache_clear()


@pytest.fixture
def unwritable(monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a file" / "cache"))
    head._warn.cache_clear()


@pytest.mark.parametrize("where", ["no_home", "unwritable"])
def test_without_a_cache_heads_are_built_and_one_warning_says_what_to_set(where, request):
    request.getfixturevalue(where)
    with pytest.warns(ModelWarning, match=rf"heads are not kept.*set \${VARIABLE}") as said:
        found = [models.load("mini:clip", MINI) for _ in range(2)]
    assert len([w for w in said if issubclass(w.category, ModelWarning)]) == 1
    assert found[0].fingerprint == found[1].fingerprint


@pytest.mark.parametrize("where", ["no_home", "unwritable"])
def test_data_that_must_be_kept_names_the_variable(where, request):
    request.getfixturevalue(where)
    with pytest.raises(CacheError, match=rf"cache folder can't be used .*; set \${VARIABLE}"):
        mini_folder("imagenet")


def test_what_lies_in_a_folder_that_can_not_be_written_is_used(tmp_path, monkeypatch):
    kept(tmp_path / "x", lambda partial: partial.write_text("made"))
    monkeypatch.setattr(Path, "mkdir", None)
    assert kept(tmp_path / "x", lambda _: pytest.fail("made twice")).read_text() == "made"


def test_a_damaged_head_is_built_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    models.load("mini:clip", MINI)
    (file,) = (cache_folder() / "heads").glob("*.safetensors")
    file.write_bytes(b"cut off")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        assert models.load("mini:clip", MINI).image_size == 64


def test_half_a_file_or_folder_is_not_left(tmp_path):
    def half(partial):
        partial.mkdir()
        (partial / "one").touch()
        raise KeyError

    with pytest.raises(KeyError):
        kept(tmp_path / "folder", half)
    with pytest.raises(KeyError):
        kept(tmp_path / "file", lambda partial: (partial.touch(), {}["nothing"]))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.lock", "folder.lock"]


def test_the_newest_files_alone_stay(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for time, name in enumerate("bdac"):
        keep_newest(f"folder/{name}", b"", 2)
        os.utime(tmp_path / "folder" / name, (time, time))
    assert sorted(file.name for file in (tmp_path / "folder").iterdir()) == ["a", "c"]


@pytest.fixture
def impatient(monkeypatch, caplog):
    monkeypatch.setattr(locks, "SAY_AFTER", 0.1)
    monkeypatch.setattr(locks, "GIVE_UP_AFTER", 0.4)
    caplog.set_level(logging.WARNING, "clip_robustness")
    return caplog


def test_a_dead_holder_is_named_and_then_passed_over(tmp_path, impatient):
    """On another host it can't be seen that a process died: nobody touches its lock file."""
    with filelock.FileLock(tmp_path / "cell"), locked(tmp_path / "cell") as held:
        assert not held
    waiting, going_on = impatient.messages
    assert waiting == f"waiting for another process, which holds the lock {tmp_path / 'cell'}"
    assert f"going on without the lock {tmp_path / 'cell'}" in going_on


def test_a_living_holder_is_waited_for_beyond_the_limit(tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(locks, "SIGN_EVERY", 0.02)
    entered, order = threading.Event(), []

    def first():
        with locked(tmp_path / "cell"):
            entered.set()
            while "waiting" not in impatient.text:
                pass
            threading.Event().wait(3 * locks.GIVE_UP_AFTER)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with locked(tmp_path / "cell") as held:
        order.append("second")
    thread.join()
    assert (held, order) == (True, ["first", "second"])


def test_a_file_system_without_locks_costs_no_time(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(ENOLCK, os.strerror(ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with Store(tmp_path / "store").claimed("cell"):
        pass
    assert kept(tmp_path / "x", lambda partial: partial.write_text("made")).read_text() == "made"


def _make(place, barrier):
    def make(partial):
        partial.mkdir()
        barrier.wait(timeout=60)
        (partial / "one").touch()

    kept(place, make)


def test_two_that_make_a_folder_without_locks_both_have_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(NotImplementedError))
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=_make, args=(tmp_path / "folder", barrier)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "folder" / "one").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
