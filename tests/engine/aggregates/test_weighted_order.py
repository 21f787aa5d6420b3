import numpy as np
import pytest

from tfx_explain.engine.aggregates.weighted_order import weighted_order


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_equal_weights_give_what_each_row_with_its_weight_gives(dtype):
    values = (np.random.default_rng(0).normal(size=500) * 20).astype(dtype)  # integers: many ties
    got = weighted_order(values, np.full(500, 3))
    order = np.argsort(values, kind="stable")
    assert got[0].dtype == dtype and np.array_equal(got[0], values[order])
    assert np.array_equal(got[1], 3 * np.arange(1, 501))


def test_weights_follow_their_values():
    values, reached = weighted_order(np.array([3.0, 1.0, 2.0]), np.array([5, 1, 2]))
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert reached.tolist() == [1, 3, 8]


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 3]])
def test_zeros_have_one_sign_so_that_their_order_does_not_show(weights):
    values, _ = weighted_order(np.array([0.0, -0.0, -1.0]), np.array(weights))
    assert not np.signbit(values[1:]).any()


def test_nothing_is_ordered_too():
    values, reached = weighted_order(np.zeros(0), np.zeros(0))
    assert len(values) == len(reached) == 0
