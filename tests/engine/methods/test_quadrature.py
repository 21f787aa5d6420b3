import pytest

from tfx_explain.engine.methods.quadrature import gauss_legendre


@pytest.mark.parametrize("num_steps", [1, 2, 50, 100, 200])
def test_weights_sum_to_one_and_nodes_lie_inside(num_steps):
    nodes, weights = gauss_legendre(num_steps)
    assert nodes.shape == weights.shape == (num_steps,)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (nodes > 0).all() and (nodes < 1).all()
    assert (weights > 0).all()


def test_the_weights_of_any_rule_sum_to_one():
    for num_steps in (*range(1, 129), *range(130, 513, 11), 512):
        assert gauss_legendre(num_steps)[1].sum() == pytest.approx(1, abs=1e-12), num_steps


@pytest.mark.parametrize("num_steps", [1, 3, 8])
def test_exact_up_to_its_degree_and_not_beyond(num_steps):
    nodes, weights = gauss_legendre(num_steps)
    for degree in range(2 * num_steps):
        assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), abs=1e-13)
    beyond = 2 * num_steps
    assert abs(weights @ nodes**beyond - 1 / (beyond + 1)) > 1e-12


def test_refuses_no_steps():
    with pytest.raises(ValueError, match=r"num_steps must be >= 1. Received: num_steps=0"):
        gauss_legendre(0)
