import os
import shutil

import pytest

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError
from clip_robustness.evaluation.loaded import LoadedModels
from clip_robustness.evaluation.machine import Machine
from clip_robustness.models import embedded, parse, remembered
from clip_robustness.models.remembered import Facts, Record, files_of

MINI = class_list("mini")
FACTS = Facts("f" * 16, "e" * 16, 64, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "bicubic", "squash", "", "fp32", ("a warning",))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """The embedded supervised model as a user's file, in a folder of its own; a minute old."""
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "_YOUNG", -1e9)
    (tmp_path / "weights").mkdir()
    return shutil.copy(embedded.SUPERVISED_WEIGHTS, tmp_path / "weights" / "resnet.safetensors")


@pytest.fixture
def spec(checkpoint):
    return parse(f"timm:test_resnet@{checkpoint}?mean=0.5,0.5,0.5&std=0.5,0.5,0.5&image_size=64")


@pytest.fixture
def loads(monkeypatch):
    """Counts the models that are loaded."""
    calls, load = [], models.load
    monkeypatch.setattr(models, "load", lambda *args: (calls.append(1), load(*args))[1])
    return calls


def loaded(verify=False):
    return LoadedModels("mini", Machine("cpu"), "cpu", verify=verify)


def test_what_was_written_is_read_for_the_same_model_alone(spec, checkpoint):
    assert Record(spec, MINI, "cpu").read() is None
    Record(spec, MINI, "cpu").write(FACTS)
    assert Record(spec, MINI, "cpu").read() == FACTS
    others = [
        Record(parse(f"timm:test_resnet@{checkpoint}"), MINI, "cpu"),
        Record(spec, class_list("cifar10"), "cpu"),
        Record(spec, MINI, "cuda"),
    ]
    assert [record.read() for record in others] == [None] * 3


def test_two_checkouts_remember_each_their_own_embedded_model(spec, tmp_path, monkeypatch):
    here = parse("mini:supervised")
    Record(here, MINI, "cpu").write(FACTS)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(remembered, "files_of", lambda *_: (tmp_path / "weights" / "resnet.safetensors",))
        Record(here, MINI, "cpu").write(FACTS)
    assert Record(here, MINI, "cpu").read() == FACTS


def replaced(file):
    """By a file of the same size and time of modification."""
    before, other = file.stat(), file.with_name("other")
    shutil.copy(file, other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


def rewritten(file):
    """In place, with its time set back."""
    before = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [replaced, rewritten, lambda file: (file.parent / "args.yaml").write_text("mean: 0")],
    ids=["replaced", "rewritten in place", "arguments beside it"],
)  # fmt: skip
def test_a_file_that_changed_is_read_again(spec, change):
    Record(spec, MINI, "cpu").write(FACTS)
    change(spec.file)
    assert Record(spec, MINI, "cpu").read() is None


def test_a_file_that_changes_while_it_is_read_is_not_remembered(spec):
    record = Record(spec, MINI, "cpu")
    rewritten(spec.file)
    record.write(FACTS)
    assert Record(spec, MINI, "cpu").read() is None


def test_a_checkpoint_younger_than_a_minute_is_always_read(spec, monkeypatch):
    Record(spec, MINI, "cpu").write(FACTS)
    monkeypatch.setattr(remembered, "_YOUNG", 60.0)
    assert Record(spec, MINI, "cpu").read() is None
    now = spec.file.stat().st_ctime + 61
    monkeypatch.setattr(remembered.time, "time", lambda: now)
    assert Record(spec, MINI, "cpu").read() == FACTS


@pytest.mark.parametrize("spec", ["open_clip:ViT-B-32/openai", "timm:resnet50.a1_in1k", "python:module:factory"])
def test_what_a_spec_does_not_name_the_files_of_is_not_remembered(spec):
    assert files_of(parse(spec), MINI) is None


def test_a_remembered_model_is_not_loaded_until_it_is_asked(spec, loads):
    first = loaded()
    flags, described = first.flags(spec), first.described(spec, "candidate")
    again = loaded()
    assert again.described(spec, "candidate") == described
    assert (again.flags(spec), again.model(spec).code) == (flags, first.model(spec).code)
    assert len(loads) == 1
    assert again.model(spec).loaded.fingerprint == first.model(spec).fingerprint
    assert len(loads) == 2


def test_a_file_that_is_replaced_between_a_record_and_its_reading_is_an_error(spec):
    loaded().model(spec)
    model = loaded().model(spec)
    shutil.copy(embedded.FILTER_WEIGHTS, spec.file)
    with pytest.raises(InputError):
        _ = model.loaded
    model.facts = FACTS
    shutil.copy(embedded.SUPERVISED_WEIGHTS, spec.file)
    with pytest.raises(InputError, match="its files changed during the run"):
        _ = model.loaded


def test_verify_reads_what_is_remembered_and_says_what_is_another_model(spec, loads):
    Record(spec, MINI, "cpu").write(FACTS)
    assert loaded().model(spec).fingerprint == FACTS.fingerprint
    found = loaded(verify=True).model(spec)
    assert found.fingerprint != FACTS.fingerprint
    assert "look unchanged, but hold another model" in found.facts.warnings[-1]
    assert len(loads) == 1
