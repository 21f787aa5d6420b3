import numpy as np
import pytest

from benchmarks.engine import rules


@pytest.mark.parametrize("rule", [rules.gauss_legendre, rules.trapezoid, rules.mean_with_ends])
def test_weights_sum_to_one(rule):
    nodes, weights = rule(50)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (nodes @ weights) == pytest.approx(0.5, abs=1e-12)


def test_integrals_of_a_square():
    def square(nodes, weights):
        return float(nodes**2 @ weights)

    assert square(*rules.gauss_legendre(2)) == pytest.approx(1 / 3, abs=1e-15)
    assert square(*rules.trapezoid(3)) == pytest.approx(3 / 8, abs=1e-15)
    assert square(*rules.mean_with_ends(3)) == pytest.approx(5 / 12, abs=1e-15)


def test_draws_lie_in_range_and_follow_their_seed():
    nodes, weights = rules.uniform_draws(50, 7)
    assert 0 <= nodes.min() < nodes.max() < 1
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(nodes, rules.uniform_draws(50, 7)[0])
    assert not np.array_equal(nodes, rules.uniform_draws(50, 8)[0])
