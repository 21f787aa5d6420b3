import numpy as np
import pytest

from tfx_explain.engine.aggregates.buckets import HISTOGRAM_EDGES
from tfx_explain.engine.aggregates.edges import reached

EDGES = {
    "histogram": HISTOGRAM_EDGES * 0.37,
    "geometric": 1e-4 * 1.0512820512820513 ** np.arange(300),
    "one": np.array([0.25]),
    "zero": np.array([0.0]),
    "crowded": 1 + np.arange(40) * 1e-6,
    "equal": np.array([-1.0, -1.0, 2.0, 2.0, 2.0]),
    "far apart": np.array([-1e300, -1e-300, 5e-324, 1e300]),
}


def probes(edges):
    rng = np.random.default_rng(0)
    near = [edges, -edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
    spread = rng.normal(size=5000) * 10.0 ** rng.uniform(-8, 8, 5000)
    special = [0.0, -0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, np.inf, -np.inf]
    return np.concatenate([*near, spread, spread.astype(np.float32), special])


@pytest.mark.parametrize("name", EDGES)
def test_the_counts_are_those_of_a_search(name):
    edges = EDGES[name]
    values = probes(edges)
    np.testing.assert_array_equal(reached(edges, values), np.searchsorted(edges, values, side="right"))


def test_shape_and_strides_do_not_matter():
    values = np.random.default_rng(1).normal(size=(7, 30)).astype(np.float32)
    for given in (values, values.T, values[::2, ::3]):
        got = reached(HISTOGRAM_EDGES, given)
        np.testing.assert_array_equal(got, np.searchsorted(HISTOGRAM_EDGES, given, side="right"))
        assert got.dtype == np.int64
    assert reached(HISTOGRAM_EDGES, values[:0]).shape == (0, 30)
