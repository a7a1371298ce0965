"""Make drawn.npz: what our own drawings look like, the frost textures and the watermark, in a few numbers.

Their constants are nobody's but ours, so nothing says which are right: the test notices that a drawing has changed, and
figures with it. Where that is meant, run this as a module, look at the pictures, and say so in the changelog.
"""

from pathlib import Path

import numpy as np

from clip_robustness.conditions.corruptions.frost import crystals
from clip_robustness.conditions.corruptions.watermark import watermark


def looks(pixels):
    """Mean and deviation of the grey levels in twelve parts of a picture, and five quantiles of each colour."""
    grey = pixels.mean(axis=2)
    parts = grey.reshape(3, grey.shape[0] // 3, 4, grey.shape[1] // 4)
    ends = np.quantile(pixels, (0, 0.01, 0.5, 0.99, 1), axis=(0, 1))
    return np.concatenate([*parts.mean((1, 3)), *parts.std((1, 3)), *ends])


def drawn():
    """All of them, by name."""
    found = {f"frost {i}": looks(texture.pixels) for i, texture in enumerate(crystals())}
    black = np.zeros((96, 128, 3), np.uint8)
    return found | {f"watermark {s}": looks(watermark(black, s, np.random.default_rng(0))) for s in range(1, 6)}


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("drawn.npz"), **drawn())
