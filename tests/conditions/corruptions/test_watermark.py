"""The watermark: its opacity, and nothing else of the image."""

import numpy as np
import pytest

from clip_robustness.conditions.corruptions.watermark import OPACITY, watermark


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_black_becomes_as_light_as_the_opacity(severity):
    seen = watermark(np.zeros((224, 224, 3), np.uint8), severity, np.random.default_rng(0))
    assert seen.max() == round(255 * OPACITY[severity - 1])
    rows, columns = np.nonzero(seen.any(2))
    assert 0.7 < (columns.max() - columns.min()) / 224 < 0.9
    assert abs((rows.max() + rows.min()) / 2 - 112) < 6
    assert 0.02 < seen.any(2).mean() < 0.2


def test_white_stays_white():
    white = np.full((64, 64, 3), 255, np.uint8)
    assert np.array_equal(watermark(white, 5, np.random.default_rng(0)), white)
