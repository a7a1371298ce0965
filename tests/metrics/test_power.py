import numpy as np
import pytest

from clip_robustness.metrics import evidence, power
from tests.metrics.test_error_rates import pair


def test_by_hand():
    """Quantiles 1.959964 of 0.975 and 0.841621 of 0.8: 2.801585 standard errors of 0.4 / 10; half of the times 1.96."""
    assert power.detectable(100, 0.4, 0.025) == pytest.approx(0.1120634)
    assert power.detectable(100, 0.4, 0.025, power=0.5) == pytest.approx(0.0783986)
    assert power.needed(0.1120634, 0.4, 0.025) == pytest.approx(100, rel=1e-5)
    assert power.needed(0.0783986, 0.4, 0.025, power=0.5) == pytest.approx(100, rel=1e-5)


def test_so_many_images_show_so_much():
    """2000 images, models that disagree on a fifth, a limit of 5 points among 58: a drop that is `detectable` beyond it
    fails in about 80% of runs."""
    alpha = 0.025 / 58
    beyond = power.detectable(2000, np.sqrt(0.2), alpha)
    assert power.needed(beyond, np.sqrt(0.2), alpha) == pytest.approx(2000)
    drop = 0.05 + beyond
    shares = [0.6, (0.2 - drop) / 2, (0.2 + drop) / 2, 0.2]
    counts = np.random.default_rng(0).multinomial(2000, shares, 200)
    fails = [evidence.paired(*pair(won, lost, both, 2000), -0.05).p_violation <= alpha for both, won, lost, _ in counts]
    assert 0.72 <= np.mean(fails) <= 0.9
