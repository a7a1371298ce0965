"""Checkpoint files: every form that training and libraries leave them in, and what a file is that is none."""

import gzip
import io
import json
import pickle
import sys
import tarfile
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from clip_robustness import models
from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import ModelWarning
from clip_robustness.models import InputError, embedded
from clip_robustness.models.checkpoint import CheckpointError, read_checkpoint
from clip_robustness.models.torchscript import read_tensors

MINI = class_list("mini")
ARCH = embedded.CLIP_ARCHITECTURE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights():
    return load_file(embedded.CLIP_WEIGHTS)


def loaded(file, options="prompts=plain"):
    return models.load(f"open_clip:{ARCH}@{file}?{options}", MINI)


@pytest.fixture(scope="module")
def expected():
    images = torch.rand(2, 3, 64, 64)
    return images, models.load("mini:clip?prompts=plain", MINI)(images)


def prefixed(weights, prefix):
    return {f"{prefix}{key}": value for key, value in weights.items()}


def inside(weights, wrapper):
    """With a wrapper around every block of a tower, as compilation and FSDP leave it."""
    return {key.replace("resblocks.0.", f"resblocks.0.{wrapper}."): value for key, value in weights.items()}


WRAPPED = {
    "bare": lambda w: w,
    "state_dict": lambda w: {"state_dict": w, "epoch": 3, "optimizer": {}},
    "model": lambda w: {"model": w, "args": Namespace(lr=0.1)},
    "model_state_dict": lambda w: {"model_state_dict": w, "loss": 0.5},
    "deepspeed": lambda w: {"module": w, "ds_version": "0.14", "global_steps": 7, "lr_scheduler": None},
    "a name of one's own": lambda w: {
        "encoder": w,
        "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},
    },
    "nested": lambda w: {"model": {"state_dict": prefixed(w, "module.")}, "epoch": 1},
    "ddp of a compiled": lambda w: {"state_dict": prefixed(w, "module._orig_mod.")},
    "compiled of a ddp": lambda w: {"state_dict": prefixed(w, "_orig_mod.module.")},
    "lightning": lambda w: {"state_dict": prefixed(w, "clip_model."), "pytorch-lightning_version": "2.4.0"},
    "averaged": lambda w: {"model_ema": prefixed(w, "module.") | {"n_averaged": torch.tensor(7)}, "model": {}},
    "a shadow": lambda w: {"state_dict": {}, "ema": {"shadow": prefixed(w, "module."), "decay": 0.999}},
    "a shadow beside": lambda w: {"state_dict": {k: v + 1 for k, v in w.items()}, "shadow": prefixed(w, "module.")},
    "compiled blocks": lambda w: {"state_dict": inside(w, "_orig_mod")},
    "fsdp": lambda w: {"state_dict": prefixed(inside(w, "_fsdp_wrapped_module"), "_fsdp_wrapped_module.")},
    "activation checkpointing": lambda w: inside(w, "_checkpoint_wrapped_module"),
    "numbers beside": lambda w: {**w, "epoch": 3, "best": 0.5},
    "a scale as a list": lambda w: {**w, "logit_scale": [float(w["logit_scale"])]},
    "a scale as a number": lambda w: {**w, "logit_scale": float(w["logit_scale"])},
    "a scale of one dimension": lambda w: {**w, "logit_scale": w["logit_scale"].reshape(1)},
    "an ordered dict": lambda w: OrderedDict(w),
}


@pytest.mark.parametrize("form", WRAPPED)
def test_what_training_wraps_around_weights_is_taken_off(tmp_path, weights, form):
    torch.save(WRAPPED[form](weights), tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt").weights
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key].reshape(value.shape), value) for key, value in weights.items())


@pytest.mark.parametrize("form", ["deepspeed", "fsdp", "a scale as a list", "a scale as a number"])
def test_unwrapped_weights_give_the_same_logits(tmp_path, weights, expected, form):
    torch.save(WRAPPED[form](weights), tmp_path / "x.pt")
    assert torch.allclose(loaded(tmp_path / "x.pt")(expected[0]), expected[1], atol=1e-4)


@pytest.mark.parametrize("scale", [100.0, 1 / 0.07, float("nan")])
def test_a_scale_that_is_no_logarithm_is_refused(tmp_path, weights, scale):
    torch.save({**weights, "logit_scale": torch.tensor(scale)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=rf"logit_scale is {scale:g}.*save its logarithm"):
        loaded(tmp_path / "x.pt")


def test_the_content_decides_not_the_ending(tmp_path, weights):
    save_file(weights, tmp_path / "x.pt")
    torch.save(weights, tmp_path / "x.safetensors")
    assert (
        read_checkpoint(tmp_path / "x.pt").weights.keys() == read_checkpoint(tmp_path / "x.safetensors").weights.keys()
    )


@pytest.mark.parametrize(("ending", "save"), [("safetensors", save_file), ("bin", torch.save)])
def test_shards_with_an_index(tmp_path, weights, expected, ending, save):
    name = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    keys, where = sorted(weights), {}
    for i in range(3):
        shard = f"{name}-{i + 1:05}-of-00003.{ending}"
        save({key: weights[key] for key in keys[i::3]}, tmp_path / shard)
        where |= dict.fromkeys(keys[i::3], shard)
    index = tmp_path / f"{name}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    assert torch.allclose(loaded(index)(expected[0]), expected[1], atol=1e-4)
    one = tmp_path / f"{name}-00002-of-00003.{ending}"
    with pytest.raises(CheckpointError, match=f"one of 3 shards; give the index {index.name}"):
        read_checkpoint(one)
    one.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match=f"{one.name} is a Git LFS pointer"):
        read_checkpoint(index)
    one.unlink()
    with pytest.raises(CheckpointError, match=rf"index of 3 shards, but {one.name} is not beside it \(1 missing"):
        read_checkpoint(index)


def test_an_index_reads_no_file_elsewhere(tmp_path, weights):
    save_file(weights, tmp_path / "secret.safetensors")
    (tmp_path / "run").mkdir()
    for shard in ("../secret.safetensors", str(tmp_path / "secret.safetensors")):
        index = tmp_path / "run" / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": dict.fromkeys(weights, shard)}))
        with pytest.raises(CheckpointError, match="outside of its folder"):
            read_checkpoint(index)


class Parts(nn.Module):
    """Tensors as a TorchScript archive has them: shared, transposed, of other types, none of them parameters alone."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 3)
        self.tied = self.lin.weight
        self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).half().t(), requires_grad=False)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("nothing", torch.zeros(0, 4))
        self.register_buffer("unsaved", torch.ones(2), persistent=False)
        self.sizes = [1, 2]
        self.mask = torch.ones(3)  # neither a parameter nor a buffer, as OpenAI's attention masks

    def forward(self, x):
        return (
            self.mask * self.lin(x)
            + self.count
            + self.turned.sum()
            + self.unsaved.sum()
            + self.flags.sum()
            + self.nothing.sum()
        )


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Parts(), Parts())

    def forward(self, x):
        return self.blocks(x)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_a_torchscript_archive_has_the_tensors_that_torch_finds_in_it(tmp_path, how):
    net = Whole()
    made = torch.jit.trace(net, torch.zeros(1, 3)) if how == "trace" else torch.jit.script(net)
    torch.jit.save(made, tmp_path / "x.pt")
    found, theirs = read_tensors(tmp_path / "x.pt"), torch.jit.load(tmp_path / "x.pt").state_dict()
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert (b"mask" in archive.read("x/data.pkl")) == (how == "script")
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in theirs.items())


@pytest.fixture(scope="module")
def openai_archive(tmp_path_factory, weights):
    """As OpenAI publishes its weights: TorchScript, with three entries that are no weights."""
    open_clip.add_model_config(embedded.FOLDER)
    net = open_clip.create_model(ARCH)
    net.load_state_dict(weights)
    for name, value in (("input_resolution", 64), ("context_length", 24), ("vocab_size", 49408)):
        vars(net).pop(name, None)
        net.register_buffer(name, torch.tensor(value))
    tokens = torch.zeros(1, 24, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace_module(net.eval(), {"encode_image": torch.zeros(1, 3, 64, 64), "encode_text": tokens})
        file = tmp_path_factory.mktemp("openai") / "ViT-B-32.pt"
        torch.jit.save(traced, file)
    return file


def test_an_archive_of_openai_is_read_without_torch_jit(openai_archive, weights, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("its code would be compiled"))
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_: pytest.fail("its code would be compiled"))
    assert torch.allclose(loaded(openai_archive, "prompts=plain&quick_gelu=false")(expected[0]), expected[1], atol=1e-4)
    torch.save(weights | {"vocab_size": torch.tensor(49408)}, tmp_path / "marked.pt")
    quick = [loaded(file) for file in (openai_archive, tmp_path / "marked.pt")]
    assert torch.allclose(quick[0](expected[0]), quick[1](expected[0]), atol=1e-4)
    assert not torch.allclose(quick[0](expected[0]), expected[1], atol=1e-2), "OpenAI's weights have QuickGELU"


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = tmp_path_factory.mktemp("small") / "x.pt"
        torch.jit.save(torch.jit.script(Whole()), file)
    return file


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


def endless():
    one = {}
    one["again"] = one
    return one


def rewritten(archive, to, **changes):
    """An archive with some members replaced, or compressed where the content is None."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            name = info.filename.partition("/")[2]
            content = changes.get(name, old.read(info))
            kind = zipfile.ZIP_DEFLATED if content is None else zipfile.ZIP_STORED
            new.writestr(info.filename, old.read(info) if content is None else content, kind)


def module(state):
    """The pickle of an archive's module that holds this, protocol 2 as torch writes it."""
    return b"\x80\x02c__torch__.tests.models.test_checkpoints\nWhole\n)\x81}" + state + b"b."


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x04tQK\x00(J%s"
    b"t(K\x01t\x89ccollections\nOrderedDict\n)RtR"
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"weight": Malicious()}, 2), "asks for io.open"),
        (module(b"(X\x01\x00\x00\x00acposix\nsystem\nX\x0e\x00\x00\x00touch executed\x85Ru"), "asks for posix.system"),
        (module(b"(X\x01\x00\x00\x00actorch\nload\nX\x01\x00\x00\x00x\x85Ru"), "asks for torch.load"),
        (module(b"(X\x01\x00\x00\x00acbuiltins\neval\nX\x01\x00\x00\x00x\x85Ru"), "asks for builtins.eval"),
        (module(b"(X\x01\x00\x00\x00a" + TENSOR.replace(b"%s", b"\xff\xff\xff\x7f") + b"u"), "out of bounds"),
        (
            b"\x80\x02c__torch__.tests.models.test_checkpoints\nWhole\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00ub.",
            "hold one another without end",
        ),
        (b"\x80\x02", "Ran out of input"),
        (b"", "Ran out of input"),
    ],
)
def test_a_torchscript_archive_executes_nothing(tmp_path, monkeypatch, small_archive, content, says):
    monkeypatch.chdir(tmp_path)
    for ending in ("pt", "safetensors", "bin"):
        rewritten(small_archive, tmp_path / f"x.{ending}", **{"data.pkl": content})
        with pytest.raises(CheckpointError, match="without executing code") as error:
            read_checkpoint(tmp_path / f"x.{ending}")
        assert says in str(error.value)
    assert not (tmp_path / "executed").exists()


class Settings(dict):
    """As libraries keep settings."""


@pytest.mark.parametrize(
    "beside",
    [
        {"best_acc1": np.float64(0.5), "epoch": np.int64(3), "seen": np.zeros((2, 2))},
        {"args": Namespace(output=Path("/x"), lr=np.float32(0.1)), "started": datetime(2026, 1, 2, tzinfo=UTC)},
        {"losses": defaultdict(list, {"train": [1.0]}), "kind": (list, int)},
        {"config": Settings(lr=0.1)},
    ],
)
def test_what_training_leaves_beside_the_weights_is_passed_over(tmp_path, monkeypatch, beside):
    monkeypatch.setattr(Settings, "__module__", "yacs")
    package = ModuleType("yacs")
    package.Settings = Settings
    monkeypatch.setitem(sys.modules, "yacs", package)
    weights = {"a.weight": torch.ones(2), "b.weight": torch.zeros(3)}
    torch.save({**beside, "state_dict": weights}, tmp_path / "x.pt")
    monkeypatch.delitem(sys.modules, "yacs")
    found = read_checkpoint(tmp_path / "x.pt").weights
    assert {key: value.tolist() for key, value in found.items()} == {"a.weight": [1, 1], "b.weight": [0, 0, 0]}


def test_what_is_passed_over_is_not_built(tmp_path, monkeypatch):
    """Even what NumPy's own functions could do: only their names are known."""
    monkeypatch.chdir(tmp_path)

    class Written:
        def __reduce__(self):
            return np.save, ("executed.npy", 1)

    torch.save({"best": Written(), "state_dict": {"a.weight": torch.ones(2)}}, tmp_path / "x.pt")
    assert list(read_checkpoint(tmp_path / "x.pt").weights) == ["a.weight"]
    assert not (tmp_path / "executed.npy").exists()


def test_a_bomb_in_a_torchscript_archive_is_not_unpacked(tmp_path, small_archive):
    for name in ("data.pkl", "data/0"):
        rewritten(small_archive, tmp_path / "x.pt", **{name: None})
        with pytest.raises(CheckpointError, match=f"{name} of the TorchScript archive is compressed"):
            read_checkpoint(tmp_path / "x.pt")


def test_arguments_of_a_training_execute_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = timm.create_model("test_resnet", num_classes=24).state_dict()
    torch.save({"state_dict": weights, "args": Namespace(model=Malicious())}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"without executing code \(it asks for io.open"):
        models.load(f"timm:test_resnet@{tmp_path / 'x.pt'}", MINI)
    torch.save({"state_dict": weights}, tmp_path / "x.pt")
    (tmp_path / "args.yaml").write_text("model: !!python/object/apply:builtins.open [executed, w]\n")
    with pytest.raises(InputError, match=r"args.yaml: not the arguments of a training"):
        models.load(f"timm:test_resnet@{tmp_path / 'x.pt'}", MINI)
    (tmp_path / "args.yaml").unlink()
    (tmp_path / "params.txt").write_text("force_image_size: open('executed', 'w')\n")
    with pytest.raises(InputError, match=r"force_image_size: open\('executed', 'w'\)' is not a whole number"):
        loaded(tmp_path / "x.pt")
    assert not (tmp_path / "executed").exists()


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"), io.BytesIO())
    return buffer.getvalue()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, **{"img/embedding/kernel": np.zeros(3)})
    return buffer.getvalue()


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>404</html>", "an HTML page"),
        (b"\xef\xbb\xbf\n <html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b"Entry not found", "is text instead of weights, it begins 'Entry not found'"),
        (b'{"error": "Repository not found"}', "is text instead of weights"),
        (b'{"embed_dim": 512, "weight_map": 3}', "is text instead of weights"),
        (b"\x1f\x8b" + bytes(9), "compressed by gzip"),
        (gzip.compress(saved({})), "compressed by gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "compressed by zstd"),
        (b"\x89HDF\r\n\x1a\n" + bytes(9), "HDF5"),
        (b"GGUF" + bytes(9), "GGUF"),
        (tar(), "is a tar archive"),
        (
            zipped(**{"readme.txt": "x", "weights.pt": "y"}),
            r"a zip archive of something else \(readme.txt, weights.pt\)",
        ),
        (npz(), "NumPy archive"),
        (saved({"weight": torch.zeros(9)})[:-40], "cut off or damaged"),
        (b"\x10" + bytes(7) + b'{"a":{"dtype":', "cut off or damaged"),
        (
            saved({"epoch": 3, "optimizer": OPTIMIZER}),
            "holds no weights but epoch, optimizer; it is the state of an opt",
        ),
        (saved(OPTIMIZER), "holds no weights but state, param_groups; it is the state of an optimizer"),
        (saved({}), "holds no weights but nothing"),
        (saved({"student": {"a": torch.zeros(1)}, "teacher": {"a": torch.zeros(1)}}), r"dicts \(student, teacher\)"),
        (saved(torch.zeros(3)), "holds a Tensor, not weights by name"),
        (saved([torch.zeros(3)]), "holds a list"),
        (saved({"model": endless()}), "wraps|holds no weights"),
        (saved({"a": np.zeros(3)}), "holds NumPy arrays by name; save them as tensors"),
        (pickle.dumps({"a": np.zeros(3)}, 2), r"without executing code \(it asks for numpy|no safetensors file"),
        (saved(nn.Linear(2, 2)), r"without executing code \(it asks for torch.nn.modules.linear.Linear"),
    ],
)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_is_called_what_it_is(tmp_path, content, says, ending):
    file = tmp_path / f"x.{ending}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as error:
        read_checkpoint(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_bias_of_the_sigmoid_loss_goes_with_any_architecture(tmp_path, weights, expected):
    torch.save({"state_dict": weights | {"logit_bias": torch.tensor([-10.0])}}, tmp_path / "x.pt")
    assert torch.allclose(loaded(tmp_path / "x.pt")(expected[0]), expected[1] - 10, atol=1e-4)
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text()) | {"init_logit_bias": -10}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    torch.save(weights, tmp_path / "x.pt")  # trained without the loss: the bias plays no role
    model = loaded(tmp_path / "x.pt", f"prompts=plain&config={tmp_path / 'mine.json'}")
    assert torch.allclose(model(expected[0]), expected[1], atol=1e-4)


def test_an_architecture_of_ones_own(tmp_path, weights, expected):
    """The name before the @ is the user's; two files of one name are two architectures."""
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text())
    save_file(weights, tmp_path / "x.safetensors")
    logits = []
    for folder, content in (("a", config), ("b", {"model_cfg": config | {"quick_gelu": True}})):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "mine.json"
        file.write_text(json.dumps(content))
        spec = f"open_clip:mine@{tmp_path / 'x.safetensors'}?prompts=plain&config={file}"
        logits.append(models.load(spec, MINI)(expected[0]))
    assert torch.allclose(logits[0], expected[1], atol=1e-4)
    assert not torch.allclose(logits[1], expected[1], atol=1e-2)
    for wrong in ("{", "[]", '{"embed_dim": 3}', '{"embed_dim": 3, "vision_cfg": 4, "text_cfg": {}}'):
        file.write_text(wrong)
        with pytest.raises(InputError, match="not an architecture of open_clip"):
            models.load(spec, MINI)
    with pytest.raises(InputError, match="there is no such file"):
        models.load(f"{spec}.json", MINI)


@pytest.mark.parametrize(
    ("theirs", "asked", "says"),
    [
        ("ViT-L-14", "ViT-B-32", "text width 512, the file's is 768.*: ViT-L-14\\?"),
        ("RN50", "ViT-B-32", "RN50"),
        ("ViT-B-16-SigLIP", "ViT-B-32", "image tower of open_clip, the file's is of timm.*: ViT-B-16-SigLIP"),
        ("ViT-B-16", "ViT-B-16-SigLIP", "image tower of timm, the file's is of open_clip"),
    ],
)
def test_weights_of_another_architecture_are_told_by_their_shapes(theirs, asked, says):
    import re

    from clip_robustness.models.architectures import unlike

    with torch.device("meta"):
        net = open_clip.create_model(theirs, pretrained_text=False, device="meta")
    assert re.search(says, unlike(open_clip.get_model_config(asked), net.state_dict()))
    assert not unlike(open_clip.get_model_config(theirs), net.state_dict())


def test_weights_of_another_kind_are_told(tmp_path):
    torch.save(
        {"vision_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2), "text_model.x": torch.zeros(2)},
        tmp_path / "x.pt",
    )
    with pytest.raises(InputError, match="a model of transformers; give the folder"):
        loaded(tmp_path / "x.pt")


def test_the_weights_of_a_folder_are_read_like_any_file(tmp_path, weights, expected):
    folder = tmp_path / "copy"
    folder.mkdir()
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    spec = f"open_clip:local-dir:{folder}?prompts=plain"
    with pytest.raises(InputError, match="has no weights"):
        models.load(spec, MINI)
    torch.save({"module": prefixed(weights, "_orig_mod.")}, folder / "mine.pt")
    assert torch.allclose(models.load(spec, MINI)(expected[0]), expected[1], atol=1e-4)
    torch.save({}, folder / "other.pt")
    with pytest.raises(InputError, match=r"several files that may be the weights \(mine.pt, other.pt\)"):
        models.load(spec, MINI)
    (folder / "open_clip_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        models.load(spec, MINI)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda v: (v * 50).round().to(torch.int8), "int8"),
        (lambda v: v.to(torch.complex64), "complex64"),
        (lambda v: v.to_sparse(), "sparse_coo"),
        (lambda v: v.to("meta"), "without values"),
    ],
)
def test_weights_that_stand_for_other_numbers_are_refused(tmp_path, weights, made, kind):
    """Quantised weights fit, too: torch copies the codes as if they were the weights."""
    torch.save(weights | {"text_projection": made(weights["text_projection"])}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=f"text_projection of its weights is .*{kind}.*save the model in float32"):
        loaded(tmp_path / "x.pt")
    state = timm.create_model("test_resnet", num_classes=24).state_dict()
    torch.save(state | {"fc.weight": made(state["fc.weight"])}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=f"fc.weight of its weights is .*{kind}"):
        models.load(f"timm:test_resnet@{tmp_path / 'x.pth'}", MINI)


def test_floats_of_eight_bits_may_have_scales_elsewhere(tmp_path, weights):
    eight = weights["text_projection"].to(torch.float8_e4m3fn)
    torch.save(weights | {"text_projection": eight}, tmp_path / "x.pt")
    with pytest.warns(
        ModelWarning, match="1 of its weights are of float8_e4m3fn and taken as they are, without scales"
    ):
        model = loaded(tmp_path / "x.pt")
    torch.save(weights | {"text_projection": eight.float()}, tmp_path / "y.pt")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(model(images), loaded(tmp_path / "y.pt")(images))


@pytest.mark.filterwarnings("ignore::clip_robustness.errors.ModelWarning")
@pytest.mark.parametrize("place", [lambda ema: {"ema": ema}, lambda ema: ema], ids=["under a name", "beside"])
def test_averaged_weights_without_names_are_not_passed_over(tmp_path, weights, place):
    ema = {"decay": 0.999, "shadow_params": list(weights.values())}
    torch.save({"state_dict": weights, **place(ema)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"without their names \(shadow_params\); copy .* \?ema=false"):
        loaded(tmp_path / "x.pt")
    assert loaded(tmp_path / "x.pt", "prompts=plain&ema=false")


def adapted(weights):
    key = next(key for key in weights if key.endswith("c_fc.weight"))
    block = key.removesuffix(".weight")
    rest = {name: value for name, value in weights.items() if name != key}
    parts = {f"{block}.lora_A.default.weight": torch.ones(4, 3), f"{block}.lora_B.default.weight": torch.ones(3, 4)}
    return prefixed({**rest, f"{block}.base_layer.weight": weights[key], **parts}, "base_model.model.")


@pytest.mark.filterwarnings("ignore::clip_robustness.errors.ModelWarning")
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (adapted, r"adapters \(LoRA\) that are not merged; call merge_and_unload"),
        (lambda w: prefixed(w, "student.") | prefixed(w, "teacher."), "its keys begin with student. or teacher.; save"),
        (lambda w: prefixed(w, "clip.") | {"criterion.weight": torch.ones(3)}, "its keys begin with clip.; save"),
        (lambda w: {k: v for k, v in w.items() if k.startswith("visual.")}, "x.pt holds an image tower alone"),
    ],
)
def test_weights_among_others_are_told(tmp_path, weights, made, says):
    torch.save({"state_dict": made(weights)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=says):
        loaded(tmp_path / "x.pt")


def test_an_archive_of_an_image_tower_alone_is_called_one(tmp_path):
    """People trace `model.visual`, and call the file as OpenAI's are called."""
    open_clip.add_model_config(embedded.FOLDER)
    net = open_clip.create_model(ARCH).eval()
    torch.jit.save(torch.jit.trace(net.visual, torch.zeros(1, 3, 64, 64)), tmp_path / "ViT-B-32.pt")
    with pytest.raises(InputError, match=r"an image tower alone \(a TorchScript archive\); save the text tower"):
        loaded(tmp_path / "ViT-B-32.pt")


def test_a_vocabulary_that_is_not_the_tokenizers(tmp_path, weights):
    config = json.loads((embedded.FOLDER / "mini-clip.json").read_text())
    width = weights["token_embedding.weight"].shape[1]
    for rows in (300, 50_000):
        config["text_cfg"]["vocab_size"] = rows
        (tmp_path / "mine.json").write_text(json.dumps(config))
        torch.save(weights | {"token_embedding.weight": torch.rand(rows, width)}, tmp_path / "x.pt")
        options = f"prompts=plain&config={tmp_path / 'mine.json'}"
        if rows == 300:
            with pytest.raises(
                InputError, match="its tokenizer gives token 49407, its text tower has 300 of them; name"
            ):
                loaded(tmp_path / "x.pt", options)
        else:
            with pytest.warns(ModelWarning, match="has 50000 tokens, but CLIP's tokenizer with 49408 is assumed"):
                loaded(tmp_path / "x.pt", options)
