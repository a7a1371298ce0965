"""The watermark: its opacity, its place, and nothing else of the image."""

import numpy as np
import pytest

from clip_robustness.conditions.corruptions.watermark import watermark


@pytest.mark.parametrize(("severity", "opacity"), [*enumerate((0.1, 0.2, 0.35, 0.5, 0.7), 1)])
@pytest.mark.parametrize("width", [224, 336])
def test_black_becomes_as_light_as_the_opacity(severity, opacity, width):
    seen = watermark(np.zeros((224, width, 3), np.uint8), severity, np.random.default_rng(0))
    assert seen.max() == pytest.approx(255 * opacity, abs=0.6)
    rows, columns = np.nonzero(seen.any(2))
    assert (columns.max() - columns.min() + 1) / width == pytest.approx(
        0.79, abs=0.02
    )  # 0.8 with what is beside letters
    assert abs((columns.max() + columns.min()) / 2 - width / 2) < 3
    assert abs((rows.max() + rows.min()) / 2 - 112) < 6
    assert 0.02 < seen.any(2).mean() < 0.2


def test_white_stays_white():
    white = np.full((64, 64, 3), 255, np.uint8)
    assert np.array_equal(watermark(white, 5, np.random.default_rng(0)), white)
