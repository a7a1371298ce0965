"""Our corruptions against outputs of the `imagecorruptions` package (data/make_corruption_references.py).

Its elastic transform isn't the published one: that comes from the authors' own package.
"""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from clip_robustness.conditions.benchmark import CORRUPTIONS
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.conditions.corruptions.frost import Texture
from tests import DATA

SAME = [name for name in CORRUPTIONS if name != "elastic_transform"] + ["elastic_transform_imagecorruptions"]
RANDOM = ["gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"]
RANDOM += ["speckle_noise", "spatter", "elastic_transform", "elastic_transform_imagecorruptions"]
TESTS = len(RANDOM) * 5 * 4
SEVERITIES = range(1, 6)
IMAGES = ("image_0", "image_1")


@pytest.fixture(scope="module")
def references():
    return dict(np.load(DATA / "corruption_references.npz"))


@pytest.fixture(scope="module")
def frost_textures(references):
    """In the order in which the references drew them."""
    large, small = Texture(references["frost_0"]), Texture(references["frost_1"])
    return large, large, small, small, large


@pytest.fixture(scope="module")
def large(references):
    return np.asarray(Image.fromarray(references["image_0"]).resize((224, 224), Image.Resampling.BICUBIC))


class Replay:
    """The draws of the references: those of numpy's legacy generator, in the reference's order, with our signatures."""

    def __init__(self, seed, shape):
        self._legacy = np.random.RandomState(seed)
        self._generator = np.random.default_rng(seed)
        self._shape = shape
        self.uniform, self.integers, self.poisson = self._legacy.uniform, self._legacy.randint, self._legacy.poisson

    def standard_normal(self, size, dtype=np.float64):
        """We draw flakes of snow where they are needed, the reference over the whole image."""
        drawn = self._legacy.normal(size=self._shape[: len(size)])
        top, left = ((drawn.shape[i] - size[i]) // 2 for i in range(2))
        return drawn[top : top + size[0], left : left + size[1]].astype(dtype)

    def random(self, size, dtype):
        """Salt and pepper: the reference draws twice, whether and which. Ours are 0 (salt), 1 (pepper) or neither."""
        severity = self._legacy.get_state()[1][0]
        hit = self._generator.random(size) <= (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
        return np.where(hit, np.where(self._generator.random(size) <= 0.5, 0, 1), 0.5).astype(dtype)


def difference(ours, theirs):
    return np.abs(ours.astype(int) - theirs)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("key", IMAGES)
@pytest.mark.parametrize("name", SAME)
def test_with_the_same_draws_no_pixel_is_off_by_more_than_one_level(references, frost_textures, name, key, severity):
    image = references[key]
    ours = corrupt(image, name, severity, Replay(severity, image.shape), frost_textures)
    assert difference(ours, references[f"{name}_{key}"][severity - 1]).max() <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_published_elastic_transform_with_the_same_draws(references, large, severity):
    ours = corrupt(large, "elastic_transform", severity, Replay(severity, large.shape))[::4, ::4]
    assert difference(ours, references["elastic_transform_large"][severity - 1]).max() <= 1


def statistics(image, clean):
    """Mean, standard deviation, distance from the clean image, step between neighbours."""
    values = image.astype(float)
    return values.mean(), values.std(), np.abs(values - clean).mean(), np.abs(np.diff(values, axis=1)).mean()


@pytest.fixture
def p_value(references, frost_textures, large):
    """The smallest p-value of four Kolmogorov-Smirnov tests, 128 draws of ours against 64 of theirs."""

    def smallest(name, severity, against):
        clean = large if name == "elastic_transform" else references["image_0"]
        draws = map(np.random.default_rng, range(128))
        ours = np.array([statistics(corrupt(clean, name, severity, r, frost_textures), clean) for r in draws])
        theirs = references[f"{name}_statistics"][against - 1]
        return min(ks_2samp(ours[:, i], theirs[:, i]).pvalue for i in range(4))

    return smallest


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", RANDOM)
def test_random_corruptions_have_the_reference_distribution(p_value, name, severity):
    """One family of tests, at 1% in total."""
    assert p_value(name, severity, against=severity) > 0.01 / TESTS


@pytest.mark.parametrize("name", RANDOM)
def test_the_distribution_test_tells_neighbouring_severities_apart(p_value, name):
    assert p_value(name, 4, against=5) < 0.01 / TESTS
