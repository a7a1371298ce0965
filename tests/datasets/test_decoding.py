"""What the pixels of a file are: those that torchvision reads, but for grey samples of more than 8 bits."""

import cv2
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader

from clip_robustness.datasets.dataset import Sample, read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8))
GREY = np.asarray(NOISE.convert("L"))
DEEP = (GREY.astype(np.uint16) << 8) + GREY[::-1]
"""16-bit samples whose upper 8 bits are GREY."""


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


WRITERS = {
    "grey.png": lambda file: NOISE.convert("L").save(file),
    "bits.png": lambda file: NOISE.convert("1").save(file),
    "alpha.png": lambda file: NOISE.convert("RGBA").save(file),
    "grey-alpha.png": lambda file: NOISE.convert("LA").save(file),
    "palette.png": lambda file: NOISE.convert("P").save(file, transparency=3),
    "cmyk.jpg": lambda file: NOISE.convert("CMYK").save(file),
    "cmyk.tif": lambda file: NOISE.convert("CMYK").save(file),
    "turned.jpg": lambda file: NOISE.save(file, exif=turned()),
    "deep-colour.png": lambda file: cv2.imwrite(str(file), cv2.merge([DEEP, DEEP.T.reshape(24, 36), DEEP[::-1]])),
    "deep-colour.tif": lambda file: cv2.imwrite(str(file), cv2.merge([DEEP, DEEP.T.reshape(24, 36), DEEP[::-1]])),
    "moving.gif": lambda file: NOISE.convert("P").save(file, save_all=True, append_images=[NOISE.rotate(180)]),
    "moving.webp": lambda file: NOISE.save(file, save_all=True, append_images=[NOISE.rotate(180)]),
    "moving.png": lambda file: NOISE.save(file, save_all=True, append_images=[NOISE.rotate(180)]),
    "moving.avif": lambda file: NOISE.save(file, save_all=True, append_images=[NOISE.rotate(180)]),
    "stereo.mpo": lambda file: NOISE.save(file, save_all=True, append_images=[NOISE.rotate(180)]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_pixels_are_those_that_torchvision_reads(tmp_path, name):
    WRITERS[name](tmp_path / name)
    ours, theirs = read_image(tmp_path / name).convert("RGB"), default_loader(str(tmp_path / name))
    assert ours.size == (36, 24)
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
@pytest.mark.parametrize("writer", ["pillow", "opencv"])
def test_16_bit_grey_is_scaled(tmp_path, name, writer):
    if writer == "opencv":
        cv2.imwrite(str(tmp_path / name), DEEP)
    else:
        Image.fromarray(DEEP).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), GREY)


def test_grey_and_colour_are_cut_alike(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), DEEP)
    cv2.imwrite(str(tmp_path / "colour.png"), cv2.merge([DEEP] * 3))
    grey, colour = (np.asarray(read_image(tmp_path / name).convert("RGB")) for name in ("grey.png", "colour.png"))
    assert np.array_equal(grey, colour)


@pytest.mark.parametrize(("order", "black"), [("big", 1), ("little", 1), ("little", 0)])
def test_either_order_of_bytes_and_either_end_for_black(tmp_path, order, black):
    """Photometric interpretation 0: white is zero."""
    fields = [(256, 3, 36), (257, 3, 24), (258, 3, 16), (259, 3, 1), (262, 3, black)]
    fields += [(273, 4, 8 + 2 + 12 * 8 + 4), (278, 3, 24), (279, 4, DEEP.nbytes)]
    content = (b"MM\0*" if order == "big" else b"II*\0") + (8).to_bytes(4, order) + len(fields).to_bytes(2, order)
    for tag, kind, value in fields:
        content += tag.to_bytes(2, order) + kind.to_bytes(2, order) + (1).to_bytes(4, order)
        content += value.to_bytes(2 if kind == 3 else 4, order).ljust(4, b"\0")
    content += bytes(4) + DEEP.astype(">u2" if order == "big" else "<u2").tobytes()
    (tmp_path / "x.tif").write_bytes(content)
    assert np.array_equal(np.asarray(read_image(tmp_path / "x.tif")), GREY if black else 255 - GREY)


def test_shares_of_the_range_that_a_pgm_names(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 36 24 4095\n" + (DEEP >> 4).astype(">u2").tobytes())
    assert np.abs(np.asarray(read_image(tmp_path / "x.pgm"), int) - GREY).max() <= 1


@pytest.mark.parametrize("name", ["x.tif", "x.pfm"])
def test_float_samples_are_shares_of_white(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), (GREY / 255).astype(np.float32))
    assert np.array_equal(np.asarray(read_image(tmp_path / name)), GREY)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (GREY.astype(np.float32), "its float values go from [0-9]+ to [0-9]+, where 0 is black and 1 is white"),
        (GREY.astype(np.float32) / 255 - 0.5, "its float values go from -0"),
        (np.where(GREY > 9, GREY / 255, np.nan).astype(np.float32), "its float values go from nan"),
        (GREY.astype(np.uint16), "its 16-bit values end at [0-9]+, where 65535 is white: it would be black"),
        (DEEP >> 4, "its 16-bit values end at [0-9]+, where 65535 is white: it would be black"),
        (cv2.merge([DEEP >> 4] * 3), "its 16-bit colours end under 4096, where 65535 is white: it would be black"),
        (cv2.merge([GREY.astype(np.uint16)] * 3), "its 16-bit colours end under 4096"),
        (DEEP.astype(np.int32), "its values are signed or have 32 bits, and what is white among them is not known"),
        (DEEP.astype(np.int16), "its values are signed or have 32 bits"),
    ],
)
def test_a_range_that_can_not_be_known_is_named(tmp_path, samples, says):
    cv2.imwrite(str(tmp_path / "x.tif"), samples)
    with pytest.raises(OSError, match=rf"x\.tif: {says}"):
        read_image(tmp_path / "x.tif")


def test_colours_that_pillow_makes_others_of_are_named(tmp_path):
    Image.new("LAB", (36, 24), (150, 20, 30)).save(tmp_path / "x.tif")
    with pytest.raises(OSError, match=r"x\.tif: its colours are CIE L\*a\*b\*; save it as RGB"):
        read_image(tmp_path / "x.tif")


def test_a_line_is_no_image(tmp_path):
    """Its short side at 256 px, it would have gigabytes."""
    Image.new("RGB", (501, 1)).save(tmp_path / "x.png")
    with pytest.raises(OSError, match=r"x\.png: 501 x 1 px: too narrow to be resized"):
        read_image(tmp_path / "x.png")


def test_black_is_black_in_any_range(tmp_path):
    for samples in (np.zeros_like(DEEP), np.zeros(DEEP.shape, np.float32)):
        cv2.imwrite(str(tmp_path / "x.tif"), samples)
        assert not np.asarray(read_image(tmp_path / "x.tif")).any()


def test_an_image_inside_a_file_is_named_with_it(tmp_path):
    sample = Sample("a/1", tmp_path / "table.arrow", 0, content=lambda: b"cut off")
    with pytest.raises(OSError, match=r"table\.arrow, a/1: not an image that Pillow reads as JPEG, PNG"):
        sample.image()
