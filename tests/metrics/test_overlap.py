import pytest
from scipy.stats import fisher_exact

from clip_robustness.metrics.overlap import fisher

TABLES = [
    [[3, 1], [1, 3]],
    [[0, 5], [7, 0]],
    [[12, 40], [30, 55]],
    [[5, 5], [5, 5]],
    [[0, 9], [0, 4]],
    [[1, 0], [0, 1]],
]


@pytest.mark.parametrize("table", [*TABLES, [[240, 10], [3400, 350]]])
def test_the_p_value_is_that_of_fishers_exact_test(table):
    (a, b), (c, d) = table
    assert fisher(a, a + b, a + c, a + b + c + d) == pytest.approx(fisher_exact(table).pvalue, rel=1e-6)
