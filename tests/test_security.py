"""Files from strangers: none of them executes code, fills the memory or writes elsewhere, and bad ones are named."""

import base64
import gzip
import importlib
import io
import json
import pickle
import re
import struct
import tarfile
import tomllib
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version
from PIL import Image, PngImagePlugin

from clip_robustness import models, suites
from clip_robustness.datasets import load as data_sets
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import _FORMATS, read_image
from clip_robustness.datasets.records import read_json
from clip_robustness.errors import InputError
from clip_robustness.evaluation.store import Store
from clip_robustness.models import embedded
from clip_robustness.reports.write import views
from clip_robustness.results import gallery, history, results
from tests import ROOT
from tests.reports.test_reports import RESULTS, VIDEO, everything

MINI = class_list("mini")
DEEP = "[" * 100_000 + "]" * 100_000


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


def unpickled(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Malicious()}))


def zipped(folder):
    torch.save({"state_dict": Malicious()}, folder / "pytorch_model.bin")


def legacy(folder):
    torch.save({"state_dict": Malicious()}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [unpickled, zipped, legacy])
@pytest.mark.parametrize("ending", ["bin", "pt", "pth", "safetensors", "npz"])
@pytest.mark.parametrize(
    "spec",
    ["timm:test_resnet", "torchvision:resnet18", f"open_clip:{embedded.CLIP_ARCHITECTURE}", "open_clip:local-dir"],
)
def test_no_checkpoint_executes_code(tmp_path, monkeypatch, write, ending, spec):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    file = (tmp_path / "pytorch_model.bin").rename(tmp_path / f"open_clip_pytorch_model.{ending}")
    if spec == "open_clip:local-dir":
        config = json.loads((embedded.FOLDER / "mini-clip.json").read_text())
        file.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
        asked = f"{spec}:{tmp_path}"
    else:
        asked = f"{spec}@{file}"
    with pytest.raises(InputError) as error:
        models.load(asked, MINI)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


def header(entries, length=None):
    content = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content


@pytest.mark.parametrize(
    "content",
    [
        header(b"{}", 1 << 62),
        header(b"{}", 100_000_001),
        header({"fc.bias": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}) + bytes(4),
        header({"fc.bias": {"dtype": "F32", "shape": [24], "data_offsets": [0, 1 << 50]}}) + bytes(96),
        header({"fc.bias": {"dtype": "F32", "shape": [24], "data_offsets": [96, 0]}}) + bytes(96),
        header({key: {"dtype": "F32", "shape": [24], "data_offsets": [0, 96]} for key in ("fc.bias", "fc.weight")})
        + bytes(96),
        header(('{"__metadata__": ' + DEEP + "}").encode()),
        header(b"\xff\xfe{}"),
    ],
)
def test_hostile_headers_of_safetensors(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "x.safetensors"))):
        models.load(f"timm:test_resnet@{tmp_path / 'x.safetensors'}", MINI)


def paths(value, path=()):
    """Of everything in a nested value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*path, key))


def changed(value, path, to):
    if not path:
        return to
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], to)
    return copy


WRONG = (None, True, -1, 1 << 70, float("nan"), "x", [], ["x"], {}, {"x": 1})


def written(value):
    """As a TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return "nan" if value != value else json.dumps(value)


def test_values_of_wrong_types_anywhere_in_a_suite(toml):
    good = tomllib.loads((suites.FOLDER / "mini.toml").read_text())
    said = []
    for path in paths(good):
        for bad in (changed(good, path, wrong) for wrong in WRONG[1:] if path):
            file = toml("\n".join(f"{json.dumps(key)} = {written(value)}" for key, value in bad.items()))
            try:
                suites.load(file)
            except InputError as error:
                said.append(str(error))
    assert len(said) > 500
    assert all(one.startswith(file) and "\n" not in one and len(one) < 1000 for one in said)


@pytest.mark.parametrize(
    "text",
    [
        f"samples = {DEEP}",
        "samples = " + "{a=" * 10_000 + "1" + "}" * 10_000,
        "a" + ".a" * 10_000 + " = 1",
        "samples = " + "9" * 10_000,
        "samples = 0x" + "f" * 10_000,
        '"\\u0000" = 1',
        "classes = '" + "/" * 100_000 + "'\n[data]\n[conditions]",
        'classes = "a\\u0000b"\n[data]\n[conditions]',
    ],
)
def test_hostile_toml(toml, text):
    file = toml(text)
    for load in (suites.load, lambda file: suites.load("mini", file)):
        with pytest.raises(InputError) as error:
            load(file)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000 + len(text) * ("classes" in text)


def test_a_suite_runs_no_command(tmp_path):
    with pytest.raises(InputError, match="would run a command"):
        data_sets.load("imagenet", f"wds:pipe:touch {tmp_path / 'executed'}", MINI)
    assert not (tmp_path / "executed").exists()


def test_wrong_values_anywhere_in_a_results_json(tmp_path):
    """What can be read can be shown."""
    environment = {"command": ["pytest"], "libraries": {"torch": "2"}, "started": "2026-01-02", "gpus": ["one"]}
    few = replace(RESULTS, environment=environment, cells=[everything().cells[0], VIDEO])
    good, file = json.loads(few.to_json()), tmp_path / "results.json"
    said, shown = [], 0
    for path in paths(good):
        for wrong in WRONG:
            file.write_text(json.dumps(changed(good, path, wrong)))
            try:
                found = results.read(file)
            except ValueError as error:
                said.append(str(error))
                continue
            if path[:1] in (("environment",), ("models",)):  # which have no schema
                assert views(replace(found, cells=[]), {})[1] == []
                shown += 1
    assert len(said) > 500
    assert all(one.startswith(f"{file}: not a results.json of this suite: ") and "\n" not in one for one in said)
    assert shown > 20


@pytest.mark.parametrize("text", [DEEP, '{"schema": ' + DEEP + "}", '{"schema": ' + "9" * 10_000 + "}", "\x00"])
def test_json_that_is_nested_too_deep_or_none(tmp_path, text):
    file = tmp_path / "results.json"
    for name, read in (
        ("results.json", results.read),
        ("gallery.json", lambda file: gallery.beside(file.with_name("results.json"))),
        ("one.run.json.gz", history.read),
        ("pmsets.json", read_json),
    ):
        file = tmp_path / name
        file.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        with pytest.raises(ValueError, match=re.escape(str(file))):
            read(file)


@pytest.mark.parametrize(
    "picture", ["javascript:alert(1)", "data:image/svg+xml;base64,AAAA", "https://elsewhere.test/pixel.jpg", "x"]
)
def test_a_gallery_shows_jpegs_and_nothing_else(tmp_path, picture):
    texts = dict.fromkeys(("image", "label", "before", "after", "supervised", "difference"), "")
    (tmp_path / "gallery.json").write_text(json.dumps({"key": [texts | {"clean": picture, "changed": ""}]}))
    with pytest.raises(ValueError, match="a picture is no JPEG"):
        gallery.beside(tmp_path / "results.json")


def test_wrong_values_anywhere_in_a_recorded_run(tmp_path):
    right = history.CorrectImages("m", "clean/clean", ("a.png", "b.png"), np.array([True, False]), (7, 8))
    file = history.append(tmp_path, "one", RESULTS, [history.packed(right)])
    good = json.loads(gzip.decompress(file.read_bytes()))
    said = []
    for path in paths({key: good[key] for key in ("cells", "images", "schema", "name", "recorded")}):
        for wrong in WRONG if path else ():
            file.write_bytes(gzip.compress(json.dumps(changed(good, path, wrong)).encode()))
            try:
                history.read(file)
            except InputError as error:
                said.append(str(error))
    assert len(said) > 60
    assert all(one.startswith(str(file)) for one in said)


def test_a_recorded_run_that_does_not_tell_all_images_is_refused(tmp_path):
    """What is left out must not count as wrong."""
    right = history.CorrectImages("m", "clean/clean", tuple("abcdefghij"), np.ones(10, bool), (1,) * 10)
    packed = history.packed(right)
    packed["correct"] = base64.b64encode(base64.b64decode(packed["correct"])[:1]).decode()
    with pytest.raises(InputError, match="not told for 10 images"):
        history.read(history.append(tmp_path, "one", RESULTS, [packed]))


def test_a_bomb_in_a_recorded_run_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "_LARGEST", 1 << 20)
    file = tmp_path / "one.run.json.gz"
    file.write_bytes(gzip.compress(b'"' + bytes(1 << 21) + b'"'))
    with pytest.raises(InputError, match="unpacks to more than 1 MB"):
        history.read(file)


def test_a_recorded_run_of_many_values_in_few_bytes_is_refused(tmp_path):
    file = tmp_path / "one.run.json.gz"
    file.write_bytes(gzip.compress(b'{"schema":1,"images":[' + b"[]," * 3_000_000 + b"[]]}"))
    assert file.stat().st_size < 1 << 16
    with pytest.raises(InputError, match="it would fill the memory"):
        history.read(file)


def test_cells_on_the_same_images_share_them_in_memory(tmp_path):
    """Else a file of some kilobytes, which names its images once, takes as much for each of its cells."""
    ids = tuple(f"{i:05d}.png" for i in range(1000))
    cells = [
        history.packed(history.CorrectImages("m", f"c/{n}", ids, np.ones(1000, bool), (1,) * 1000)) for n in range(3)
    ]
    run = history.read(history.append(tmp_path, "one", RESULTS, cells))
    first, *others = run.right.values()
    assert first.ids == ids
    assert all(other.ids is first.ids and other.sizes is first.sizes for other in others)


def test_a_store_of_many_values_in_few_bytes_is_refused(tmp_path):
    module = importlib.import_module(
        "clip_robustness.evaluation.store.block"
    )  # the package has a function of that name

    content = base64.b64encode(zlib.compress(b"[" + b"[]," * 2_000_000 + b"[]]"))
    (tmp_path / "cell.blocks").write_bytes(module._checksum("cell", content) + b" " + content + b"\n")
    assert Store(tmp_path, read_only=True).read("cell") == ([], [], 1)


def test_a_bomb_in_a_store_is_not_unpacked(tmp_path, monkeypatch):
    module = importlib.import_module(
        "clip_robustness.evaluation.store.block"
    )  # the package has a function of that name

    monkeypatch.setattr(module, "_LARGEST", 1 << 20)
    content = base64.b64encode(zlib.compress(b"[" + bytes(1 << 21)))
    (tmp_path / "cell.blocks").write_bytes(module._checksum("cell", content) + b" " + content + b"\n")
    assert Store(tmp_path, read_only=True).read("cell") == ([], [], 1)


def png(pixels=(8, 8)):
    buffer = io.BytesIO()
    Image.new("RGB", pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_names_and_links_in_shards_lead_nowhere(tmp_path, monkeypatch):
    pytest.importorskip("webdataset")
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "secret").write_bytes(png())
    with tarfile.open(tmp_path / "0.tar", "w") as tar:

        def add(name, content=b"", **fields):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))

        for key in ("../../../../escaped", f"{tmp_path}/absolute", "good"):
            add(f"{key}.png", png())
            add(f"{key}.cls", b"0")
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            add("link.png", type=kind, linkname=str(tmp_path / "secret"))
            add("link.cls", b"0")
        add("device.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
        add("device.cls", b"0")
        for label in ("٣".encode(),):
            add(f"label{label[:2].hex()}.png", png())
            add(f"label{label[:2].hex()}.cls", label)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    found = data_sets.load("imagenet", f"wds:{tmp_path / '0.tar'}", MINI)
    unpacked = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"} - before
    assert unpacked
    assert all(path.resolve().is_relative_to(tmp_path / "cache") and not path.is_symlink() for path in unpacked)
    assert {sample.path for sample in found.samples} <= unpacked
    assert {sample.id.rpartition("/")[2] for sample in found.samples} >= {"absolute", "good"}
    assert not {sample.id.rpartition("/")[2] for sample in found.samples} & {"link", "device"}


def test_a_file_of_a_shard_that_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    pytest.importorskip("webdataset")
    monkeypatch.setenv("CLIP_ROBUSTNESS_CACHE", str(tmp_path / "cache"))
    size = (1 << 28) + 1
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz", compresslevel=1) as tar:
        for name, content in (("a.png", png()), ("a.cls", b"0"), ("b.png", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(content) or size
            with io.BytesIO(content) if content else Path("/dev/zero").open("rb") as source:
                tar.addfile(info, source)
    assert (tmp_path / "0.tar.gz").stat().st_size < 5e6
    found = data_sets.load("imagenet", f"wds:{tmp_path / '0.tar.gz'}", MINI)
    assert len(found.samples) == 1
    assert f"has a file of {size} bytes, b.png, which is left out" in " ".join(found.warnings)


def bomb_of_pixels():
    """A small file that says it has so many pixels."""
    content = bytearray(png())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def bomb_of_text():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "0" * (80 << 20), zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    assert len(buffer.getvalue()) < 1 << 20
    return buffer.getvalue()


def in_format(name):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, name)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        bomb_of_pixels(),
        bomb_of_text(),
        b"P6 100000 100000 255 ",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(executed) (w) file\n",
        *map(in_format, ("PDF", "EPS", "ICO", "TGA")),
    ],
    ids=["pixels", "text", "ppm", "postscript", "pdf", "eps", "ico", "tga"],
)
def test_images_that_are_bombs_or_programs_are_unreadable_and_named(tmp_path, content):
    assert Image.MAX_IMAGE_PIXELS == 89_478_485, "the limit of Pillow"
    assert not PngImagePlugin.ImageFile.LOAD_TRUNCATED_IMAGES
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "x.png"))):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("name", _FORMATS)
def test_damaged_images_raise_one_kind_of_error(name):
    """Bits that are flipped and ends that are missing, of each format."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(buffer, name)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    assert read_image(io.BytesIO(whole.tobytes())).size == (24, 24)
    unreadable = 0
    for _ in range(300):
        content = whole.copy()
        early = rng.integers(0, min(len(whole), 200), 3)
        content[early] = rng.integers(0, 256, 3)
        cut = content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_image(io.BytesIO(cut.tobytes()))
            except OSError:
                unreadable += 1
    assert unreadable > 20


def test_a_bomb_among_images_is_counted_and_the_others_are_measured(suite_run, toml, image_folder):
    folder = image_folder({f"m{i:08d}": 5 for i in range(24)})
    (folder / "m00000003" / "2.png").write_bytes(bomb_of_pixels())
    run = suite_run(
        "--suite=" + toml(f'classes = "mini"\ncandidate = ["mini:clip"]\n[data]\nimagenet = "{folder}"\n[conditions]')
    )
    assert run.code == 0, run.output
    assert (run.cell("clean")["n"], run.cell("clean")["unreadable"]) == (119, ["m00000003/2.png"])


def test_code_is_run_by_specs_that_say_so_alone():
    """`python:` is the one kind of spec that imports what it names, and the documentation says so."""
    assert re.search(r"python:package.module:factory.*runs your code", (ROOT / "docs" / "models.md").read_text())
    assert "`python:`" in (ROOT / "docs" / "long-runs.md").read_text()


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_nothing_is_pinned_below_a_security_fix():
    fixes = tomllib.loads((Path(__file__).parent / "advisories.toml").read_text())
    found = {name.lower().replace("_", "-"): Version(version) for name, version in pins().items()}
    assert set(fixes) <= set(found), "an advisory for what is not pinned"
    below = {name: fix for name, fix in fixes.items() if found[name] < Version(fix["fixed"])}
    assert not below
    assert {"pillow", "requests", "urllib3"} <= set(fixes)


def test_torchattacks_brings_none_of_what_it_pins():
    """It asks for requests~=2.25.1, which needs an urllib3 with known holes: `make` installs it alone."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--no-deps torchattacks" in makefile
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    assert not any("torchattacks" in r for group in (project["dependencies"], *extras) for r in group)
    assert Version(pins()["requests"]) >= Version("2.32")
    assert Version(pins()["urllib3"]) >= Version("2")
