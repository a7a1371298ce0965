"""Which files of a folder are images, and what is said of the others."""

import os

import pytest
from PIL import Image

from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, read_image
from clip_robustness.datasets.listing import IMAGES, list_files
from clip_robustness.models import InputError

MINI = class_list("mini")
FIRST, SECOND = MINI.keys[:2]


@pytest.fixture
def folder(image_folder):
    return image_folder({FIRST: 2, SECOND: 1})


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((folder / FIRST / "0.png").read_bytes())


def read(folder):
    return read_folder("imagenet", folder, MINI)


def test_hidden_files_and_what_systems_leave_behind_are_no_images(folder):
    before = read(folder)
    put(folder, f"{FIRST}/.trash.png", f"{FIRST}/._0.png", f"{FIRST}/.ipynb_checkpoints/0-checkpoint.png")
    put(folder, f"{FIRST}/__MACOSX/0.png", f"{FIRST}/@eaDir/0.png", f"{FIRST}/Thumbs.db", f"{FIRST}/desktop.ini")
    put(folder, "__MACOSX/x.png", ".DS_Store", f"__MACOSX/{FIRST}/._0.png")
    assert read(folder) == before
    assert before.warnings == ()


def test_files_of_other_endings_are_counted(folder):
    put(folder, *(f"{FIRST}/{i}.HEIC" for i in range(3)), f"{SECOND}/deep/a.txt", f"{SECOND}/b.heic", f"{SECOND}/c")
    put(folder, "README.txt")
    found = read(folder)
    assert len(found) == 3
    assert found.warnings == ("data set 'imagenet': 6 files are not read (.heic 4, .txt 1, without ending 1)",)


def test_images_beside_the_class_folders_are_counted(folder):
    put(folder, "b.png", "a.jpg", "labels.csv")
    found = read(folder)
    assert len(found) == 3
    assert found.warnings == ("data set 'imagenet': 2 images beside the class folders are not read (first: a.jpg)",)


def test_a_folder_without_an_image_says_what_is_there(folder):
    for file in folder.rglob("*.png"):
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"contains no images \(\.jpg, .*; .*3 files are not read \(\.heic 3\)"):
        read(folder)


@pytest.mark.parametrize("ending", IMAGES)
def test_every_ending_that_is_listed_can_be_read(tmp_path, ending):
    formats = {".jfif": "JPEG", ".mpo": "MPO", ".apng": "PNG", ".pfm": "PPM"}
    image = Image.new("F" if ending == ".pfm" else "RGB", (8, 8))
    image.save(tmp_path / f"x{ending.upper()}", formats.get(ending))
    assert list_files(tmp_path).files == (f"x{ending.upper()}",)
    assert read_image(tmp_path / f"x{ending.upper()}").size == (8, 8)


def test_links_are_followed_unless_they_lead_back(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "x.png")
    (folder / FIRST / "more").symlink_to(tmp_path / "elsewhere")
    (folder / MINI.keys[2]).symlink_to(tmp_path / "elsewhere")
    assert [sample.id for sample in read(folder).samples][-2:] == [f"{SECOND}/0.png", f"{MINI.keys[2]}/x.png"]
    assert f"{FIRST}/more/x.png" in list_files(folder).files
    (tmp_path / "elsewhere" / "back").symlink_to(folder / FIRST)  # there and back again, neither above itself
    with pytest.raises(InputError, match=r"data set 'imagenet': the link .* leads back to a folder"):
        read(folder)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_above(folder, target):
    (folder / FIRST / "up").symlink_to(target)
    with pytest.raises(InputError, match=r"the link .*up leads back to a folder that it is in; remove it"):
        read(folder)


def test_a_folder_that_can_not_be_opened_is_named(folder, monkeypatch):
    opened = os.scandir

    def scandir(place):
        if str(place).rstrip("/").endswith(SECOND):
            raise PermissionError(13, "Permission denied")
        return opened(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=rf"data set 'imagenet': .*{SECOND} can't be opened: Permission denied"):
        read(folder)


def test_a_name_that_is_not_utf8_is_named(folder):
    (folder / FIRST / "0.png").rename(folder / FIRST / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(InputError, match=r"the name b'.*caf\\xe9\.png' is not UTF-8; rename it"):
        read(folder)
    (folder / FIRST / os.fsdecode(b"caf\xe9.png")).rename(folder / FIRST / "café.png")
    assert read(folder).samples[1].id == f"{FIRST}/café.png"
