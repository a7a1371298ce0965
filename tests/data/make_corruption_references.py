"""Make corruption_references.npz: outputs of the `imagecorruptions` package, by the environment of period.py.

Two crops of scikit-image's portrait of an astronaut (NASA, public domain) are corrupted. numpy's legacy generator,
whose stream never changes, is seeded with the severity before each call, so that the test can repeat the draws. The
pictures of frost are replaced by noise (`frost_0`, `frost_1`), one too small for the images. imagecorruptions has an
elastic transform of its own; the published one is that of the authors' package, imagenet-c, which works at 224 px
alone: every fourth pixel is kept.
"""

import functools
import sys
from pathlib import Path
from unittest.mock import MagicMock

import cv2
import numpy as np
import skimage.data
from period import imagecorruptions
from PIL import Image

DRAWS = 64
RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"}
RANDOM |= {"elastic_transform", "speckle_noise", "spatter"}

_default_rng = np.random.default_rng


def seed(number):
    np.random.seed(number)
    generator = _default_rng(number)
    np.random.default_rng = lambda _: generator  # scikit-image's random_noise asks for a new one


def statistics(image, clean):
    values = image.astype(float)
    return values.mean(), values.std(), np.abs(values - clean).mean(), np.abs(np.diff(values, axis=1)).mean()


for name in ("wand", "wand.image", "wand.api", "wand.color"):
    sys.modules[name] = MagicMock(Image=object)

import imagenet_c.corruptions  # noqa: E402

portrait = Image.fromarray(skimage.data.astronaut()).crop((96, 0, 352, 320))
images = {"image_0": np.asarray(portrait.resize((64, 48), Image.BOX)), "image_1": np.asarray(portrait.resize((33, 41)))}
noise = np.random.RandomState(0)
textures = [noise.randint(0, 256, shape).astype(np.uint8) for shape in ((70, 90, 3), (30, 80, 3))]
cv2.imread = lambda file: textures[Path(file).stem in ("frost3", "frost4")][..., ::-1]

arrays = {**images, "frost_0": textures[0], "frost_1": textures[1]}


def record(corrupt, image, step=1):
    outputs = []
    for severity in range(1, 6):
        seed(severity)
        outputs.append(corrupt(image, severity)[::step, ::step])
    return np.stack(outputs)


def record_statistics(corrupt, image):
    seed(0)
    draws = [[corrupt(image, severity) for _ in range(DRAWS)] for severity in range(1, 6)]
    return np.float32([[statistics(output, image) for output in row] for row in draws])


def published_elastic(image, severity):
    return np.uint8(imagenet_c.corruptions.elastic_transform(Image.fromarray(image), severity))


for name in imagecorruptions.get_corruption_names("all"):
    corrupt = functools.partial(imagecorruptions.corrupt, corruption_name=name)
    key = "elastic_transform_imagecorruptions" if name == "elastic_transform" else name
    for image in images:
        arrays[f"{key}_{image}"] = record(corrupt, images[image])
    if name in RANDOM:
        arrays[f"{key}_statistics"] = record_statistics(corrupt, images["image_0"])

large = np.asarray(Image.fromarray(images["image_0"]).resize((224, 224), Image.BICUBIC))
arrays["elastic_transform_large"] = record(published_elastic, large, step=4)
arrays["elastic_transform_statistics"] = record_statistics(published_elastic, large)
np.savez_compressed(Path(__file__).with_name("corruption_references.npz"), **arrays)
